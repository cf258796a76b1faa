"""A whole verification: fold, compare state, and fold again to name the entries of users that do not add up.

Or of a share of the users the proof that nothing differs, as far as a share can tell: what shares must agree on is for
`ops.verification.shares` to compare.
"""

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ops.oracle import ENTRY_COLUMNS, DigestBook, Oracle, Record, Roster, RowBook
from ops.oracle.book import Book
from ops.oracle.state import Source
from ops.verification.adoption import Adoption
from ops.verification.at_once import TOPICS as AT_ONCE_TOPICS
from ops.verification.at_once import fetch_applied_at_once, find_records, shelf_of_records
from ops.verification.comparing import Comparing, compare_entries, event_at
from ops.verification.expecting import Expectations
from ops.verification.folding import Folding
from ops.verification.log import Partition, Readable, Reader, Stretch
from ops.verification.report import Difference, EventAt, Report
from ops.verification.share import EVERYBODY, Share
from ops.verification.shelf import Shelf, shelf_of_rosters, shelf_of_sources
from ops.verification.snapshot import Digests, Snapshot
from sinks.positions import LogState

USERS_AT_ONCE: Final = 5_000
"""As many users' entries are held in memory when differences are named."""


class Topics(Protocol):
    """Where the events can be read again."""

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        """The logs of those of the partitions that exist."""

    def read(self, stretches: Mapping[Partition, Stretch], share: Share = EVERYBODY) -> Reader:
        """A reader of the share's records in these stretches."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What a pass over the log leaves behind."""

    oracle: Oracle
    sources: Shelf[Source]
    rosters: Shelf[Roster]
    folding: Folding


class Proof(NamedTuple):
    """What one share found: to be held against what the others did.

    `digests` are of the rows that its events demand, by user; `given` the credits that they gave to users of other
    shares, `taken` those that it took over from others' receipts. `letters` are the dead letters that its records met,
    `passed_over` those that they did not.
    """

    report: Report
    digests: dict[int, int]
    given: dict[int, int]
    taken: dict[int, int]
    letters: int
    passed_over: int


class Verification:
    """One verification: of what `snapshot` holds for `group`, against `topics`."""

    def __init__(self, snapshot: Snapshot, topics: Topics, group: str) -> None:
        self._snapshot = snapshot
        self._topics = topics
        self._group = group
        self._levels = snapshot.levels()
        self._rulesets, self._active = snapshot.rulesets()
        self._adoption = Adoption()
        self._positions = snapshot.positions(group)
        self._states = topics.states([(position.topic, position.partition) for position in self._positions])
        self._readable = self._find_readable()

    def run(self) -> Report:
        """Fold, compare state, and where a user's entries do not add up, fold again to name them."""
        with (
            without_cycle_search(),
            closing(self._snapshot.digests()) as digests,
            closing(self._read_at_once()) as at_once,
        ):
            proof = self._fold_and_compare(at_once)
            report = proof.report
            suspects = compare_digests(proof.digests, digests, report)
            for first in range(0, len(suspects), USERS_AT_ONCE):
                self._name_entries(suspects[first : first + USERS_AT_ONCE], report, at_once)
            return report

    def prove(self) -> Proof:
        """Fold, and compare state."""
        with without_cycle_search(), closing(self._read_at_once()) as at_once:
            return self._fold_and_compare(at_once)

    def _fold_and_compare(self, at_once: Shelf[Record]) -> Proof:
        """Fold a second time where the first tells that somebody started elsewhere."""
        for again in (False, True):
            book, report = DigestBook(), Report()
            with self._folded(book, report, at_once) as folded:
                if self._adoption.learn(folded.oracle) and not again:
                    continue
                self._compare_state(folded, report)
                has = self._snapshot.share.has
                given = {user_id: user.credits for user_id, user in folded.oracle.users.items() if not has(user_id)}
                folding = folded.folding
                return Proof(report, book.digests, given, folding.taken, folding.letters, folding.passed_over)
        raise AssertionError

    def _compare_state(self, folded: Folded, report: Report) -> None:
        if self._snapshot.share.number == 0:
            self._compare_positions(report)
        logs = {
            (part.log_id, partition): part.stretch.start
            for (topic, partition), part in self._readable.items()
            if topic == "tournament-rosters"
        }
        expectations = Expectations(folded.oracle, self._adoption, report, logs)
        unrecorded = folded.folding.unrecorded
        Comparing(self._snapshot, folded.oracle, folded.sources, folded.rosters, expectations, report, unrecorded).run()

    @contextmanager
    def _folded(self, book: Book, report: Report, at_once: Shelf[Record]) -> Iterator[Folded]:
        """One pass over the log, and what it leaves behind, for as long as that is needed."""
        with closing(shelf_of_sources()) as sources, closing(shelf_of_rosters()) as rosters:
            oracle = Oracle(self._levels, self._rulesets, self._active, book, sources, rosters)
            self._adoption.seed(oracle, self._snapshot)
            stretches = {where: part.stretch for where, part in self._readable.items()}
            with closing(self._topics.read(stretches, self._snapshot.share)) as reader:
                folding = Folding(self._snapshot, reader, self._readable, oracle, report, at_once)
                folding.run()
            yield Folded(oracle, sources, rosters, folding)

    def _read_at_once(self) -> Shelf[Record]:
        """What was applied at once, read ahead of all else: its records stand behind where its receipts belong.

        Up to the end of the logs, whether a worker has come by there yet or not.
        """
        with closing(fetch_applied_at_once(self._snapshot)) as recorded:
            if not recorded:
                return shelf_of_records()
            starts = {where: part.stretch.start for where, part in self._readable.items() if where[0] in AT_ONCE_TOPICS}
            ends = self._topics.states(starts)
            stretches = {where: Stretch(start, ends[where].end_offset) for where, start in starts.items()}
            with closing(self._topics.read(stretches, self._snapshot.share)) as reader:
                return find_records(recorded, reader, starts, self._levels)

    def _find_readable(self) -> dict[Partition, Readable]:
        """The partitions whose log is the one that the position counts in."""
        readable: dict[Partition, Readable] = {}
        for position in self._positions:
            state = self._states.get((position.topic, position.partition))
            if state is not None and state.log_id == position.log_id:
                stretch = Stretch(state.start_offset, min(position.next_offset, state.end_offset))
                readable[position.topic, position.partition] = Readable(position.log_id, stretch)
        return readable

    def _compare_positions(self, report: Report) -> None:
        """Hold each position between the last thing that was recorded and the end of its log."""
        report.count("partition_positions", len(self._positions))
        recorded = self._snapshot.recorded()
        for topic, partition, log_id, next_offset in self._positions:
            if (topic, partition) not in self._readable:
                continue
            least, most = recorded.get((topic, partition, log_id), 0), self._states[topic, partition].end_offset
            if not least <= next_offset <= most:
                expected, found = {"next_offset": f"{least} to {most}"}, {"next_offset": next_offset}
                at = EventAt(topic, partition, next_offset)
                report.differences.append(
                    Difference("partition_positions", f"{topic}[{partition}]", expected, found, at)
                )

    def _name_entries(self, users: list[int], report: Report, at_once: Shelf[Record]) -> None:
        book = RowBook(frozenset(users))
        with self._folded(book, Report(), at_once) as folded:
            opaque, unrecorded = frozenset(folded.folding.opaque), folded.folding.unrecorded
        for table in ENTRY_COLUMNS:
            found = self._snapshot.entries(table, users)
            for key, user_id, wanted, got, seq in compare_entries(table, book.rows[table], found, opaque):
                at = event_at(self._snapshot, user_id, seq, unrecorded)
                report.differences.append(Difference(table, key, wanted, got, at, user_id, seq=seq))


def compare_digests(expected: Mapping[int, int], digests: Digests, report: Report) -> list[int]:
    """The users whose rows in the append-only tables are not what is expected. `report` is told how many rows there are."""
    rows, found = digests.result()
    for table, number in rows.items():
        report.count(table, number)
    return sorted(user_id for user_id in expected.keys() | found if expected.get(user_id) != found.get(user_id))


@contextmanager
def without_cycle_search() -> Iterator[None]:
    """What the oracle remembers has no cycles, and searching it for some again and again costs a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
