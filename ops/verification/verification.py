"""A whole verification: fold, compare state, and fold again to name the entries of users that do not add up."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ops.oracle import ENTRY_COLUMNS, DigestBook, Oracle, Record, Roster, RowBook
from ops.oracle.book import Book
from ops.oracle.state import Source
from ops.verification.adoption import Adoption
from ops.verification.at_once import TOPICS as AT_ONCE_TOPICS
from ops.verification.at_once import fetch_applied_at_once, find_records, shelf_of_records
from ops.verification.comparing import Comparing, compare_entries, event_at
from ops.verification.folding import Folding, Readable, Reader
from ops.verification.log import Partition, Stretch
from ops.verification.report import Difference, EventAt, Report
from ops.verification.shelf import Shelf, shelf_of_rosters, shelf_of_sources
from ops.verification.snapshot import Digests, Snapshot
from sinks.positions import LogState

USERS_AT_ONCE: Final = 5_000
"""As many users' entries are held in memory when differences are named."""

BEYOND = """
SELECT max("offset") + 1 FROM (
    SELECT "offset" FROM reward_receipts WHERE topic = %(topic)s AND partition = %(partition)s AND log_id = %(log_id)s
    UNION ALL
    SELECT "offset" FROM dead_letters WHERE topic = %(topic)s AND partition = %(partition)s AND log_id = %(log_id)s
) AS recorded
"""


class Topics(Protocol):
    """Where the events can be read again."""

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        """The logs of those of the partitions that exist."""

    def read(self, stretches: Mapping[Partition, Stretch]) -> Reader:
        """A reader of these stretches."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What a pass over the log leaves behind."""

    oracle: Oracle
    sources: Shelf[Source]
    rosters: Shelf[Roster]
    folding: Folding


class Verification:
    """One verification: of what `snapshot` holds for `group`, against `topics`."""

    def __init__(self, snapshot: Snapshot, topics: Topics, group: str) -> None:
        self._snapshot = snapshot
        self._topics = topics
        self._group = group
        self._levels = snapshot.levels()
        self._rulesets, self._active = snapshot.rulesets()
        self._adoption = Adoption()
        self._position_differences: list[Difference] = []
        self._positions = 0
        self._readable = self._find_readable()

    def run(self) -> Report:
        """Fold, compare state, and where a user's entries do not add up, fold again to name them."""
        with closing(self._snapshot.digests()) as digests, closing(self._read_at_once()) as at_once:
            book, report = DigestBook(), Report()
            with self._folded(book, report, at_once) as folded:
                settled = not self._adoption.learn(folded.oracle)
                if settled:
                    self._compare_state(folded, report)
            if not settled:
                book, report = DigestBook(), Report()
                with self._folded(book, report, at_once) as folded:
                    self._compare_state(folded, report)
            suspects = self._compare_digests(book, digests, report)
            for first in range(0, len(suspects), USERS_AT_ONCE):
                self._name_entries(suspects[first : first + USERS_AT_ONCE], report, at_once)
            return report

    def _compare_state(self, folded: Folded, report: Report) -> None:
        report.differences.extend(self._position_differences)
        report.count("partition_positions", self._positions)
        logs = {
            (part.log_id, partition): part.stretch.start
            for (topic, partition), part in self._readable.items()
            if topic == "tournament-rosters"
        }
        Comparing(
            self._snapshot,
            folded.oracle,
            folded.sources,
            folded.rosters,
            self._adoption,
            report,
            logs=logs,
            unrecorded=folded.folding.unrecorded,
        ).run()

    @contextmanager
    def _folded(self, book: Book, report: Report, at_once: Shelf[Record]) -> Iterator[Folded]:
        """One pass over the log, and what it leaves behind, for as long as that is needed."""
        with closing(shelf_of_sources()) as sources, closing(shelf_of_rosters()) as rosters:
            oracle = Oracle(self._levels, self._rulesets, self._active, book, sources, rosters)
            self._adoption.seed(oracle, self._snapshot)
            stretches = {where: part.stretch for where, part in self._readable.items()}
            with closing(self._topics.read(stretches)) as reader:
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
            with closing(self._topics.read(stretches)) as reader:
                return find_records(recorded, reader, starts, self._levels)

    def _find_readable(self) -> dict[Partition, Readable]:
        """The partitions whose log is the one that the position counts in; what is wrong with the others is noted."""
        readable: dict[Partition, Readable] = {}
        positions = self._snapshot.positions(self._group)
        self._positions = len(positions)
        states = self._topics.states([(position.topic, position.partition) for position in positions])
        for position in positions:
            state = states.get((position.topic, position.partition))
            if state is None or state.log_id != position.log_id:
                continue
            where = {"topic": position.topic, "partition": position.partition, "log_id": position.log_id}
            recorded = self._snapshot.rows(BEYOND, where)[0][0] or 0  # type: ignore[arg-type]
            if not recorded <= position.next_offset <= state.end_offset:
                self._position_differences.append(
                    Difference(
                        "partition_positions",
                        f"{position.topic}[{position.partition}]",
                        {"next_offset": f"{recorded} to {state.end_offset}"},
                        {"next_offset": position.next_offset},
                        EventAt(position.topic, position.partition, position.next_offset),
                    )
                )
            end = min(position.next_offset, state.end_offset)
            readable[position.topic, position.partition] = Readable(position.log_id, Stretch(state.start_offset, end))
        return readable

    def _compare_digests(self, book: DigestBook, digests: Digests, report: Report) -> list[int]:
        rows, found = digests.result()
        for table, number in rows.items():
            report.count(table, number)
        expected = book.digests
        return sorted(user_id for user_id in expected.keys() | found if expected.get(user_id) != found.get(user_id))

    def _name_entries(self, users: list[int], report: Report, at_once: Shelf[Record]) -> None:
        book = RowBook(frozenset(users))
        with self._folded(book, Report(), at_once) as folded:
            opaque, unrecorded = frozenset(folded.folding.opaque), folded.folding.unrecorded
        for table in ENTRY_COLUMNS:
            found = self._snapshot.entries(table, users)
            for key, user_id, wanted, got, seq in compare_entries(table, book.rows[table], found, opaque):
                at = event_at(self._snapshot, user_id, seq, unrecorded)
                report.differences.append(Difference(table, key, wanted, got, at, user_id, seq=seq))
