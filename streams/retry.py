"""A dead letter's second chance: read again and recorded by the same path and keys, so that it never pays twice."""

from collections.abc import Collection
from contextlib import closing
from typing import Literal, NamedTuple

from schemas.errors import LaurelsError
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks.audit import AuditEntry
from sinks.batch import Batch, Delivery
from sinks.database import Connect
from sinks.dead_letters import DeadLetter, fetch_dead_letters, mark_refused_again, mark_retried
from sinks.ledger import Identity, Ledger
from sinks.ledger.rulesets import fetch_levels
from streams import rules

Outcome = Literal["recorded", "duplicate", "stale", "refused"]


class NotRetried(LaurelsError):
    """The dead letter cannot be retried; the message says why."""


class Retried(NamedTuple):
    """How a retry came out. A `refused` one stays a dead letter, with this reason and detail."""

    id: int
    outcome: Outcome
    reason: str | None = None
    detail: str | None = None


def retry_dead_letter(connect: Connect, id_: int, *, actor: str) -> Retried:
    """Record dead letter `id_` if it can be by now; in `actor`'s name either way.

    Nothing is locked meanwhile: should two retry it at once, the ledger finds the second a duplicate. Killed before
    the dead letter is marked, it is open still, and the next retry finds a duplicate.
    """
    with closing(connect()) as connection:
        with connection, connection.cursor() as cursor:
            letter = fetch_dead_letters(cursor, [id_]).get(id_)
            levels = fetch_levels(cursor)
        letter = _still_open(letter, id_)
        with closing(Ledger(connect, rules, Identity(group="", owner=""))) as ledger:
            audit = AuditEntry(actor, "dead_letter.recorded", letter.place, {"dead_letter": str(id_)})
            recorded = ledger.record(Batch([_delivery(letter, levels.keys())], origin="replay", audit=audit))
        decision = recorded.decisions[0]
        with connection, connection.cursor() as cursor:
            if isinstance(decision, Refused):
                mark_refused_again(cursor, letter, decision, actor=actor)
                return Retried(id_, "refused", decision.reason, decision.detail)
            outcome: Outcome = "duplicate" if recorded.duplicates else "stale" if recorded.stale else "recorded"
            mark_retried(cursor, letter, actor=actor, outcome=outcome)
    return Retried(id_, outcome)


def _still_open(letter: DeadLetter | None, id_: int) -> DeadLetter:
    if letter is None:
        message = f"there is no dead letter {id_}"
        raise NotRetried(message)
    if letter.status == "final":
        message = f"dead letter {id_} is final ({letter.reason}): what was recorded stands"
        raise NotRetried(message)
    if letter.status != "open":
        message = f"dead letter {id_} was {letter.status} by {letter.resolved_by}: {letter.resolution}"
        raise NotRetried(message)
    return letter


def _delivery(letter: DeadLetter, specializations: Collection[str]) -> Delivery:
    produced_ms = None if letter.produced_at is None else round(letter.produced_at.timestamp() * 1000)
    parsed = parse(letter.topic, letter.key, letter.value, produced_ms, specializations)
    return Delivery(
        parsed,
        letter.coordinates,
        b"" if isinstance(parsed, Refused) else payload_hash(parsed),
        letter.key,
        letter.value,
        letter.headers,
        produced_ms,
    )
