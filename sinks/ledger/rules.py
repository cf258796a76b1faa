"""What the ledger needs of the rules, which live above it (`streams.rules`) and are handed in."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from schemas.events import CreditTransfer, LevelCommand, SessionAttendance, TournamentResult, TournamentRoster
from schemas.rewards import Adjustment, Decision, Grant, Refused, UserState
from schemas.ruleset import Ruleset
from sinks.batch import Delivery

RewardEvent = TournamentResult | SessionAttendance | LevelCommand | CreditTransfer


class Rules(Protocol):
    """The pure functions that decide."""

    def decide(self, state: UserState, event: RewardEvent, payload_hash: bytes, ruleset: Ruleset) -> Decision:
        """Decide one event on a user's state, touching neither."""

    def adjust(
        self,
        state: UserState,
        event: TournamentResult | SessionAttendance,
        payload_hash: bytes,
        adjustment: Adjustment,
    ) -> Grant:
        """Decide again, by another ruleset, an event that stands."""

    def base_key(self, event: RewardEvent) -> str:
        """The event key of the first receipt of the event's source."""

    def results_needed(self, state: UserState, events: Iterable[TournamentResult]) -> set[str]:
        """The specializations whose rated results these events of one user need, in the order they come."""


def source_keys(deliveries: Sequence[Delivery], rules: Rules) -> list[str]:
    """The deliveries' base keys, empty for those that have none. Made once for a batch, because that adds up."""
    return [
        "" if type(event := delivery.parsed) is Refused or type(event) is TournamentRoster else rules.base_key(event)
        for delivery in deliveries
    ]
