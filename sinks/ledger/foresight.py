"""What recording would come to: the same rules on a snapshot, without locks, each batch seeing what those before it did."""

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import msgspec
from msgspec import structs
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import register_default_jsonb

from schemas.events import CreditTransfer, TournamentResult, event_subject
from schemas.rewards import Source
from sinks.batch import Delivery, RuleChange
from sinks.ledger.fold import Folded, Policy, fold
from sinks.ledger.settled import find_settled
from sinks.ledger.states import States, fetch_sources, load_results, read_states
from sinks.ledger.transaction import Decided, KeyedEvent, policy_for, reward_events, wanted_sources

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
        self._shared: dict[Any, Any] = {}

    def take(self, deliveries: Sequence[Delivery], keys: Sequence[str]) -> tuple[list[Delivery], Folded]:
        """The deliveries that were not settled before, and what they come to. `keys` are their `source_keys`."""
        settled = find_settled(self._cursor, deliveries, keys, self._rule_change)
        unsettled = [delivery for index, delivery in enumerate(deliveries) if index not in settled]
        keys = [key for index, key in enumerate(keys) if index not in settled]
        events = reward_events(unsettled, keys)
        if events:
            self._load(events)
        folded = fold(
            unsettled,
            keys,
            self.states.users,
            rules=self._basis.rules,
            policy=self._policy,
            seqs=repeat(NUMBER),
            origin="replay",
            rule_change=self._rule_change,
        )
        for key, event in events:
            sources = self.states.users[event_subject(event)].sources
            if key in sources:
                sources[key] = self._share(sources[key])
        return unsettled, folded

    def _share(self, source: Source) -> Source:
        """`source` made of parts that others have, too: hundreds of thousands give the same few things."""
        shared = self._shared.setdefault
        return structs.replace(
            source,
            ruleset=shared(source.ruleset, source.ruleset),
            specialization=shared(source.specialization, source.specialization),
            xp_given=shared(tuple(source.xp_given.items()), source.xp_given),
            skills_given=shared(tuple(source.skills_given.items()), source.skills_given),
            badges=shared(source.badges, source.badges),
            counted=shared(source.counted, source.counted),
        )

    def _load(self, keyed: Sequence[KeyedEvent]) -> None:
        events = [event for _, event in keyed]
        users = {event_subject(event) for event in events}
        users |= {event.receiver_id for event in events if isinstance(event, CreditTransfer)}
        missing = users - self.states.users.keys()
        if missing:
            self.users |= read_states(self._cursor, self.states, missing, self._basis.levels)
        self._load_sources(keyed)
        unrated = {event.user_id for event in events if isinstance(event, TournamentResult)} - self._rated
        self._rated |= unrated
        load_results(self._cursor, self.states, [(user, name) for user in unrated for name in self._basis.levels])

    def _load_sources(self, keyed: Sequence[KeyedEvent]) -> None:
        wanted = {
            key: source for key, source in wanted_sources(keyed, everything=True).items() if key not in self._known
        }
        if not wanted:
            return
        self._known |= wanted.keys()
        found = fetch_sources(self._cursor, wanted)
        for key, want in wanted.items():
            if key in found:
                self.states.users[want.user_id].sources[key] = found[key]
        pinned = policy_for(self._cursor, found.values(), self._basis.ruleset).pinned
        self._policy = Policy(self._basis.ruleset, {**self._policy.pinned, **pinned})
