"""`laurels repair`: mends what a replay cannot, since the receipt stands: entries that are gone, balances that were changed."""

from ops.repair.commands import register

__all__ = ["register"]
