"""Adjusts what recorded events gave to another ruleset: entries for the difference, under the run that asked for it.

The unit is the source. What is decided again is the event that stands as its last word, against all that the source has
given; the receipt of that names the run, corrects the source's first receipt and keeps the revision, so that whatever
comes later goes on from there. Sources that an academy's database came with count as given, whatever the rules.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeGuard

from msgspec import Struct, structs
from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from schemas.events import SessionAttendance, TournamentResult, TournamentRoster
from schemas.keys import adjusted_key
from schemas.rewards import Grant, Refused, Source
from schemas.ruleset import Ruleset
from sinks.batch import Delivery
from sinks.ledger.rules import RewardEvent
from sinks.ledger.states import text_array

RuledEvent = TournamentResult | SessionAttendance
"""Commands and transfers give what they say, by any ruleset."""

_FETCH_OWN: Final = "SELECT corrects FROM reward_receipts WHERE event_key = ANY(%s::text[])"


class DecreaseRefused(LaurelsError):
    """A rule change would take something from somebody, and nobody has allowed that."""


class Amounts(Struct):
    """What adjustments give, or take. Hours go with the sessions that count."""

    xp: int = 0
    credits: int = 0
    skill_points: int = 0
    badges: int = 0
    sessions: int = 0

    def __bool__(self) -> bool:
        return any(structs.astuple(self))

    def __str__(self) -> str:
        names = ("XP", "credits", "skill points", "badges", "sessions")
        amounts = zip(names, structs.astuple(self), strict=True)
        return ", ".join(f"{amount} {name}" for name, amount in amounts if amount)

    def add(self, other: "Amounts") -> None:
        """Add `other`."""
        for name, amount in structs.asdict(other).items():
            setattr(self, name, getattr(self, name) + amount)


NOTHING: Final = Amounts()


class Adjusted(NamedTuple):
    """An event that stands, and what it gives more and less by another ruleset than its source has given."""

    user_id: int
    delivery: Delivery
    grant: Grant
    increase: Amounts
    decrease: Amounts


def is_ruled(event: RewardEvent | TournamentRoster | Refused) -> TypeGuard[RuledEvent]:
    """Whether a ruleset has a say in `event`."""
    return isinstance(event, TournamentResult | SessionAttendance)


def is_to_adjust(event: RuledEvent, payload_hash: bytes, source: Source, after: Ruleset) -> bool:
    """Whether `event` is what its source says last, decided by another ruleset than `after`, and not adopted."""
    if source.ruleset is None or source.ruleset == after.hash:
        return False
    return source.revision == event.revision and source.payload_hash == payload_hash


def fetch_own(cursor: Cursor, keys: Iterable[str], run_id: str) -> set[str]:
    """Those of the sources that the run has adjusted before: no run decides the same one twice."""
    cursor.execute(_FETCH_OWN, (text_array([adjusted_key(key, run_id) for key in keys]),))
    return {key for (key,) in cursor.fetchall()}


def compare(user_id: int, delivery: Delivery, grant: Grant, before: Source) -> Adjusted:
    """`grant` with what it gives and takes, from the source as it was `before`."""
    if before.counted == grant.source_after.counted and not _moves(grant):
        return Adjusted(user_id, delivery, grant, NOTHING, NOTHING)
    sessions_before = before.counted.sessions if before.counted else 0
    sessions_after = grant.source_after.counted.sessions if grant.source_after.counted else 0
    deltas: Mapping[str, list[int]] = {
        "xp": [entry.amount for entry in grant.xp],
        "credits": [entry.amount for entry in grant.credits],
        "skill_points": [entry.points for entry in grant.skills],
        "badges": [1] * bool(grant.badge) + [-1] * len(grant.revoked_badges),
        "sessions": [sessions_after - sessions_before],
    }
    return Adjusted(
        user_id,
        delivery,
        grant,
        Amounts(**{name: sum(delta for delta in each if delta > 0) for name, each in deltas.items()}),
        Amounts(**{name: sum(-delta for delta in each if delta < 0) for name, each in deltas.items()}),
    )


def _moves(grant: Grant) -> bool:
    return bool(grant.xp or grant.credits or grant.skills or grant.badge or grant.revoked_badges)


def refuse_decreases(decreases: Mapping[int, Amounts]) -> None:
    """Raise `DecreaseRefused` where anybody, by user, would lose anything."""
    total = Amounts()
    losing = [user_id for user_id, amounts in decreases.items() if amounts]
    for user_id in losing:
        total.add(decreases[user_id])
    if losing:
        users = "1 user" if len(losing) == 1 else f"{len(losing)} users"
        message = f"{users} would lose {total}: allow it with --allow-decrease, or change the ruleset"
        raise DecreaseRefused(message)
