"""What users would have by another ruleset: what a replay by it would post, on a snapshot. Writes nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field
from psycopg2.extensions import cursor as Cursor

from ops.replay.reading import read_range
from ops.replay.request import Request
from ops.replay.rule_change import NO_RUN
from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from schemas.rewards import Grant
from schemas.ruleset import Ruleset
from schemas.settings import Settings
from sinks.batch import Delivery, RuleChange
from sinks.ledger.adjusting import is_ruled
from sinks.ledger.foresight import Foresight
from sinks.ledger.rules import source_keys
from sinks.ledger.rulesets import fetch_levels
from sinks.ledger.transaction import Decided
from sinks.replay_plan import fetch_given
from streams import rules
from streams.interpreter import prepared

RULED: Final = (TOURNAMENT_RESULTS, SESSION_ATTENDANCE)
"""The topics that a ruleset has a say in."""


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
    """Foresees results and attendances under one ruleset, and sums up what their sources have given."""

    def __init__(self, cursor: Cursor, ruleset: Ruleset) -> None:
        self._cursor = cursor
        self._ruleset = ruleset
        basis = Decided(rules, fetch_levels(cursor), ruleset)
        self._foresight = Foresight(cursor, basis, RuleChange(NO_RUN, ruleset, allow_decrease=True))
        self._outcomes: dict[int, UserOutcome] = {}
        self._known: set[str] = set()
        self._events = 0

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Take the next events in."""
        keys = source_keys(deliveries, rules)
        ruled = [key for delivery, key in zip(deliveries, keys, strict=True) if is_ruled(delivery.parsed)]
        self._events += len(ruled)
        self._add_given(set(ruled) - self._known)
        unsettled, folded = self._foresight.take(deliveries, keys)
        for delivery, decision in zip(unsettled, folded.decisions, strict=True):
            if isinstance(decision, Grant) and is_ruled(delivery.parsed):
                self._add_grant(delivery.parsed.user_id, decision)
        for adjusted in folded.adjusted:
            self._add_grant(adjusted.user_id, adjusted.grant)

    def outcome(self) -> Outcome:
        """The comparison."""
        outcomes = sorted(self._outcomes.items())
        return Outcome(
            ruleset=self._ruleset.hash,
            events=self._events,
            users=[outcome for _, outcome in outcomes if outcome.has != outcome.would_have],
            has=_sum(outcome.has for _, outcome in outcomes),
            would_have=_sum(outcome.would_have for _, outcome in outcomes),
        )

    def _add_given(self, keys: set[str]) -> None:
        self._known |= keys
        for user_id, grant in fetch_given(self._cursor, keys):
            outcome, given = self._outcome(user_id), _given(grant)
            outcome.has.add(*given)
            outcome.would_have.add(*given)

    def _add_grant(self, user_id: int, grant: Grant) -> None:
        self._outcome(user_id).would_have.add(
            sum(entry.amount for entry in grant.xp),
            sum(entry.amount for entry in grant.credits),
            sum(entry.points for entry in grant.skills),
            bool(grant.badge) - len(grant.revoked_badges),
        )

    def _outcome(self, user_id: int) -> UserOutcome:
        return self._outcomes.setdefault(user_id, UserOutcome(user_id))


def simulate(
    cursor: Cursor, settings: Settings, request: Request, ruleset: Ruleset, advanced: Callable[[int], None]
) -> Outcome:
    """Simulate the range of `request` under `ruleset`; `cursor` is in a read-only snapshot."""
    simulation = Simulation(cursor, ruleset)
    with prepared():
        for deliveries in read_range(settings, request, fetch_levels(cursor).keys(), advanced):
            simulation.take(deliveries)
    return simulation.outcome()


def _given(grant: Mapping[str, Any]) -> tuple[int, int, int, int]:
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
