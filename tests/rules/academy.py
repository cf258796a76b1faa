"""One student of the academy in memory: events are delivered to the rules, and what they decide is kept."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.events import CreditTransfer, LevelCommand, SessionAttendance, Skill, TournamentResult
from schemas.payload import payload_hash
from schemas.rewards import Decision, Duplicate, Grant, RatedResult, RatingPoint, Refused, UserState
from schemas.ruleset import Ruleset, load_default
from streams.rules import base_key, decide, results_needed

Event = TournamentResult | SessionAttendance | LevelCommand | CreditTransfer
Needed = Callable[[UserState, Sequence[TournamentResult]], set[str]]

LEVELS = {
    "PLAYER": (0, 500, 1500, 3000, 5000, 8000, 12000, 18000),
    "COACH": (0, 1000, 2500, 4500, 7000, 10000, 14000, 20000),
    "INTERNSHIP": (0, 1000, 3000),
}
USER = 5
OTHER_USER = 9
RULES = load_default()


def day(number: int) -> datetime:
    return datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(days=number)


def skills(*names: str, **performances: float) -> tuple[Skill, ...]:
    return (*[Skill(name) for name in names], *[Skill(name, value) for name, value in performances.items()])


def result(placement: int | None = 1, *, tournament: int = 227, revision: int = 1, **fields: Any) -> TournamentResult:
    values = {"event_id": "e", "user_id": USER, "status": "final", "occurred_at": day(0), **fields}
    return TournamentResult(tournament_id=tournament, revision=revision, placement=placement, **values)


def attendance(status: Any = "present", *, session: int = 789, revision: int = 1, **fields: Any) -> SessionAttendance:
    values = {"event_id": "e", "user_id": USER, "occurred_at": day(0), **fields}
    return SessionAttendance(session_id=session, revision=revision, status=status, **values)


def command(**fields: Any) -> LevelCommand:
    return LevelCommand(**{"command_id": "c-1", "user_id": USER, "occurred_at": day(0), **fields})


def transfer(amount: int = 10, **fields: Any) -> CreditTransfer:
    values = {"idempotency_key": "k-1", "sender_id": USER, "receiver_id": OTHER_USER, "occurred_at": day(0), **fields}
    return CreditTransfer(amount=amount, **values)


class Student:
    """Folds decisions the way the ledger does, and keeps the rows that a rating is computed from."""

    def __init__(
        self, state: UserState | None = None, *, ruleset: Ruleset = RULES, needed: Needed = results_needed
    ) -> None:
        self.state = state or UserState(USER, LEVELS)
        self._rulesets: dict[str, Ruleset] = {}
        self.decide_by(ruleset)
        self._needed = needed
        self.recorded: list[tuple[Event, Grant]] = []
        self._participations: dict[int, TournamentResult] = {}

    def deliver(self, *events: Event) -> Decision:
        """Each event in a batch of its own; the last one's decision."""
        return [decision for event in events for decision in self.deliver_together(event)][-1]

    def deliver_together(self, *events: Event) -> list[Decision]:
        """All events in one batch."""
        self._load_results(events)
        return [self._record(event) for event in events]

    def grant(self, *events: Event) -> Grant:
        """Deliver events of which the last must have an effect."""
        decision = self.deliver(*events)
        assert isinstance(decision, Grant), decision
        return decision

    def rated_results(self, specialization: str) -> dict[RatingPoint, RatedResult]:
        """The results that count for ratings, as the database would have them."""
        return {
            RatingPoint(row.occurred_at, row.tournament_id): RatedResult(
                row.placement, row.participants, row.skills, self.ruleset_of(row).content.rating
            )
            for row in self._participations.values()
            if row.status == "final" and row.specialization == specialization and row.skills
        }

    def ruleset_of(self, event: Event) -> Ruleset:
        """The ruleset that stands for what `event` is about."""
        source = self.state.sources.get(base_key(event))
        return self._rulesets.get((source and source.ruleset) or "", self._ruleset)

    def know(self, ruleset: Ruleset) -> None:
        """Have `ruleset` found where a source names it."""
        self._rulesets[ruleset.hash] = ruleset

    def decide_by(self, ruleset: Ruleset) -> None:
        """Have new sources decided by `ruleset` from here on."""
        self._ruleset = ruleset
        self.know(ruleset)

    def ratings(self, specialization: str = "PLAYER") -> dict[str, tuple[float, int]]:
        rated = self.state.licenses[specialization].skills
        return {skill: (rating.rating, rating.results) for skill, rating in rated.items()}

    def _load_results(self, events: Sequence[Event]) -> None:
        needed = self._needed(self.state, [event for event in events if isinstance(event, TournamentResult)])
        self.state.results = {specialization: self.rated_results(specialization) for specialization in needed}

    def _record(self, event: Event) -> Decision:
        key = base_key(event)
        decision = decide(self.state, event, payload_hash(event), self.ruleset_of(event))
        if isinstance(decision, Grant):
            self.state.advance(decision, key)
            self._apply_balances(decision)
            self.recorded.append((event, decision))
            if isinstance(event, TournamentResult):
                self._keep_participation(event)
        elif isinstance(decision, Refused) and decision.source_after is not None:
            self.state.sources[key] = decision.source_after
        elif isinstance(decision, Duplicate) and decision.remember is not None:
            self.state.remember(key, decision.remember)
        return decision

    def _apply_balances(self, grant: Grant) -> None:
        self.state.xp_balance += sum(entry.amount for entry in grant.xp)
        self.state.credit_balance += sum(entry.amount for entry in grant.credits if entry.user_id == USER)

    def _keep_participation(self, event: TournamentResult) -> None:
        row = self._participations.get(event.tournament_id)
        if row is not None and event.status == "withdrawn":
            event = msgspec.structs.replace(row, status="withdrawn")
        self._participations[event.tournament_id] = event


def xp(grant: Grant) -> list[tuple[str, str, int, str]]:
    return [(entry.type, entry.specialization, entry.amount, entry.key) for entry in grant.xp]


def credits(grant: Grant) -> list[tuple[str, int, str]]:
    return [(entry.type, entry.amount, entry.key) for entry in grant.credits]


def skill_points(grant: Grant) -> list[tuple[str, str, int]]:
    return [(entry.source_type, entry.skill, entry.points) for entry in grant.skills]


def moves(grant: Grant) -> list[tuple[str, int, int]]:
    return [(change.specialization, change.from_level, change.to_level) for change in grant.level_changes]
