"""The ledger: records batches of deliveries, each exactly once, in one transaction per batch."""

from sinks.ledger.ledger import Ledger, RetryPolicy
from sinks.ledger.rules import RewardEvent, Rules
from sinks.ledger.transaction import Identity

__all__ = ["Identity", "Ledger", "RetryPolicy", "RewardEvent", "Rules"]
