"""What users would have by another ruleset: a range folded from nothing, against what its sources gave. Writes nothing."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from msgspec import Struct, field
from psycopg2.extensions import cursor as Cursor

from ops.replay.reading import Deliveries, RangeReader, in_order
from ops.replay.request import Request
from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS, SessionAttendance, TournamentResult
from schemas.rewards import Grant, UserState
from schemas.ruleset import Ruleset
from schemas.settings import Settings
from sinks.ledger.rulesets import fetch_levels
from sinks.ledger.states import text_array
from streams import rules

RULED: Final = (TOURNAMENT_RESULTS, SESSION_ATTENDANCE)
"""The topics that a ruleset has a say in."""

AT_ONCE: Final = 5_000

GIVEN: Final = """
SELECT user_id, "grant" FROM reward_receipts
 WHERE event_key = ANY(%(keys)s::text[]) OR corrects = ANY(%(keys)s::text[])
"""


class Rewards(Struct):
    """What somebody has of the range's tournaments and sessions."""

    xp: int = 0
    credits: int = 0
    skill_points: int = 0
    badges: int = 0

    def add(self, xp: int, credits: int, skill_points: int, badges: int) -> None:
        """Add so much of each."""
        self.xp += xp
        self.credits += credits
        self.skill_points += skill_points
        self.badges += badges


class UserOutcome(Struct):
    """What a user has, and would have."""

    user_id: int
    has: Rewards = field(default_factory=Rewards)
    would_have: Rewards = field(default_factory=Rewards)


class Outcome(Struct, kw_only=True):
    """A simulation. `users` are those for whom something differs."""

    ruleset: str
    events: int
    users: list[UserOutcome]
    has: Rewards
    would_have: Rewards


class Simulation:
    """Folds results and attendances under one ruleset, and sums up what their sources have given."""

    def __init__(self, cursor: Cursor, ruleset: Ruleset) -> None:
        self._cursor = cursor
        self._ruleset = ruleset
        self._levels = fetch_levels(cursor)
        self._states: dict[int, UserState] = {}
        self._outcomes: dict[int, UserOutcome] = {}
        self._keys: list[str] = []
        self.events = 0

    def take(self, event: TournamentResult | SessionAttendance, payload_hash: bytes) -> None:
        """Take the next event in."""
        self.events += 1
        state = self._states.get(event.user_id)
        if state is None:
            state = self._states[event.user_id] = UserState(event.user_id, self._levels)
            state.results = {name: {} for name in self._levels}
        key = rules.base_key(event)
        if key not in state.sources:
            self._keys.append(key)
        decision = rules.decide(state, event, payload_hash, self._ruleset)
        if isinstance(decision, Grant):
            state.advance(decision, key)
            self._outcome(event.user_id).would_have.add(
                sum(entry.amount for entry in decision.xp),
                sum(entry.amount for entry in decision.credits),
                sum(entry.points for entry in decision.skills),
                bool(decision.badge) - len(decision.revoked_badges),
            )

    def outcome(self) -> Outcome:
        """The comparison."""
        for first in range(0, len(self._keys), AT_ONCE):
            self._cursor.execute(GIVEN, {"keys": text_array(self._keys[first : first + AT_ONCE])})
            for user_id, grant in self._cursor.fetchall():
                self._outcome(user_id).has.add(*_given(grant))
        outcomes = sorted(self._outcomes.items())
        return Outcome(
            ruleset=self._ruleset.hash,
            events=self.events,
            users=[outcome for _, outcome in outcomes if outcome.has != outcome.would_have],
            has=_sum(outcome.has for _, outcome in outcomes),
            would_have=_sum(outcome.would_have for _, outcome in outcomes),
        )

    def _outcome(self, user_id: int) -> UserOutcome:
        return self._outcomes.setdefault(user_id, UserOutcome(user_id))


def simulate(
    cursor: Cursor, settings: Settings, request: Request, ruleset: Ruleset, advanced: Callable[[int], None]
) -> Outcome:
    """Simulate the range of `request` under `ruleset`; `cursor` is in a read-only snapshot."""
    simulation = Simulation(cursor, ruleset)
    deliveries = Deliveries(request, fetch_levels(cursor).keys())
    reader = RangeReader(settings, request.parts)
    try:
        records = in_order(reader, request.parts)
        while read := list(islice(records, AT_ONCE)):
            for record, headers in read:
                delivery = deliveries.make(record, headers)
                if delivery is not None and isinstance(delivery.parsed, TournamentResult | SessionAttendance):
                    simulation.take(delivery.parsed, delivery.payload_hash)
            advanced(len(read))
    finally:
        reader.close()
    return simulation.outcome()


def _given(grant: dict[str, Any]) -> tuple[int, int, int, int]:
    badges = len(grant["badges"]) if "badges" in grant else bool(grant.get("badge"))
    return (
        sum(amount for _, _, amount in grant.get("xp", ())),
        sum(amount for _, amount, *_ in grant.get("credits", ())),
        sum(points for _, points in grant.get("skills", ())),
        badges - len(grant.get("revoked", ())),
    )


def _sum(rewards: Iterable[Rewards]) -> Rewards:
    total = Rewards()
    for each in rewards:
        total.add(each.xp, each.credits, each.skill_points, each.badges)
    return total
