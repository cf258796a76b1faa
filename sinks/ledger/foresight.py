"""What recording would come to: the same rules on a snapshot, without locks, each batch seeing what those before it did."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import register_default_jsonb

from schemas.events import CreditTransfer, TournamentResult, TournamentRoster, event_subject
from schemas.rewards import Refused
from sinks.batch import Delivery, RuleChange
from sinks.ledger.fold import Folded, Policy, fold
from sinks.ledger.rules import RewardEvent
from sinks.ledger.settled import find_settled
from sinks.ledger.states import States, fetch_sources, load_results, read_states
from sinks.ledger.transaction import Decided, policy_for, wanted_sources

NUMBER = 0
"""In place of a receipt's number, which only recording takes."""


class Foresight:
    """Foresees batch after batch. `cursor` belongs to a transaction whose snapshot does not move.

    `users` are the ones met so far that exist. Memory is bounded by the users and sources that something would change
    for, and not by what was recorded before.
    """

    def __init__(self, cursor: Cursor, basis: Decided, rule_change: RuleChange | None = None) -> None:
        register_default_jsonb(cursor, loads=msgspec.json.decode)
        self.states = States()
        self.users: set[int] = set()
        self._cursor = cursor
        self._basis = basis
        self._rule_change = rule_change
        self._known: set[str] = set()
        self._rated: set[int] = set()
        self._policy = Policy(basis.ruleset, {basis.ruleset.hash: basis.ruleset})

    def take(self, deliveries: Sequence[Delivery]) -> tuple[list[Delivery], Folded]:
        """The deliveries that were not settled before, and what they come to."""
        settled = find_settled(self._cursor, deliveries, self._basis.rules, self._rule_change)
        unsettled = [delivery for index, delivery in enumerate(deliveries) if index not in settled]
        events = list(_events(unsettled))
        if events:
            self._load(events)
        folded = fold(
            unsettled,
            self.states.users,
            rules=self._basis.rules,
            policy=self._policy,
            seqs=repeat(NUMBER),
            origin="replay",
            rule_change=self._rule_change,
        )
        return unsettled, folded

    def _load(self, events: Sequence[RewardEvent]) -> None:
        users = {event_subject(event) for event in events}
        users |= {event.receiver_id for event in events if isinstance(event, CreditTransfer)}
        missing = users - self.states.users.keys()
        if missing:
            self.users |= read_states(self._cursor, self.states, missing, self._basis.levels)
        self._load_sources(events)
        unrated = {event.user_id for event in events if isinstance(event, TournamentResult)} - self._rated
        self._rated |= unrated
        load_results(self._cursor, self.states, [(user, name) for user in unrated for name in self._basis.levels])

    def _load_sources(self, events: Sequence[RewardEvent]) -> None:
        wanted = {
            key: source
            for key, source in wanted_sources(events, self._basis.rules, everything=True).items()
            if key not in self._known
        }
        if not wanted:
            return
        self._known |= wanted.keys()
        found = fetch_sources(self._cursor, wanted)
        for key, source in found.items():
            self.states.users[wanted[key].user_id].sources[key] = source
        pinned = policy_for(self._cursor, found.values(), self._basis.ruleset).pinned
        self._policy = Policy(self._basis.ruleset, {**self._policy.pinned, **pinned})


def _events(deliveries: Sequence[Delivery]) -> Iterator[RewardEvent]:
    for delivery in deliveries:
        if not isinstance(delivery.parsed, Refused | TournamentRoster):
            yield delivery.parsed
