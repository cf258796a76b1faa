"""Applies an event at once, outside any topic, by the one path that every event takes.

The ledger publishes what it decides here to the event's own topic, through the outbox of the same transaction: a worker
finds a duplicate there, the log stays the whole truth, and a restored database gets the event back.
"""

from typing import Literal

import msgspec

from schemas.cloudevents import MESSAGE_TYPES, message_id
from schemas.events import EVENT_TOPICS, CreditTransfer, LevelCommand, event_subject
from schemas.payload import payload_hash
from schemas.rewards import Decision
from sinks.audit import AuditEntry
from sinks.batch import Batch, Delivery, Standing
from sinks.ledger import Ledger
from sinks.outbox import OutboxMessage

Command = LevelCommand | CreditTransfer

_TOPICS = {kind: topic for topic, kind in EVENT_TOPICS.items()}


def delivery_at_once(command: Command, *, only_if: Standing | None = None) -> Delivery:
    """`command` as the ledger takes what was never on a topic, and, if it says so, only while its user stands so."""
    publication = OutboxMessage(
        topic=_TOPICS[type(command)],
        key=str(event_subject(command)),
        id=message_id(command),
        type=MESSAGE_TYPES[type(command)],
        time=command.occurred_at,
        value=msgspec.Raw(msgspec.json.encode(command)),
    )
    return Delivery(command, None, payload_hash(command), publication=publication, only_if=only_if)


def apply_at_once(
    ledger: Ledger, command: Command, origin: Literal["http", "cli"], *, audit: AuditEntry | None = None
) -> Decision:
    """Record `command` and say what was decided. A duplicate was decided before and changes nothing, nor is audited."""
    (decision,) = ledger.record(Batch([delivery_at_once(command)], origin=origin, audit=audit)).decisions
    if decision is None:
        message = "a reward command is always decided"
        raise AssertionError(message)
    return decision
