"""Compares the oracle's state with Postgres, user by user and row by row, once the log is folded.

All that is read, from Postgres and from the shelf of sources, comes in the order of the users: one user's at a time.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from ops.oracle import ENTRY_COLUMNS, ENTRY_KEYS, Oracle, Roster
from ops.oracle.state import Source
from ops.verification.expecting import AS_GIVEN, Expectations
from ops.verification.report import Difference, EventAt, Report
from ops.verification.shelf import Shelf
from ops.verification.snapshot import Snapshot
from ops.verification.table import Account, Row, Subject, Table

PORTION: Final = 1_000
"""As many rows of each table are fetched at once, since all tables are read side by side."""


class _ByOwner:
    """Rows in the order of their owners, handed out owner by owner."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._group: Iterator[Row]
        self.owner: int | None
        self._move_on()

    def _move_on(self) -> None:
        self.owner, self._group = next(self._groups, (None, iter(())))

    def take(self, owner: int) -> list[Row]:
        """The owner's rows, if it is their turn."""
        if self.owner != owner:
            return []
        rows = list(self._group)
        self._move_on()
        return rows


def _owners(*sides: _ByOwner) -> Iterator[int]:
    """All owners of rows on any side, in order; who asks for the next must have taken the rows of the one before."""
    while waiting := [side.owner for side in sides if side.owner is not None]:
        yield min(waiting)


class Comparing:
    """The comparison of state tables."""

    def __init__(
        self,
        snapshot: Snapshot,
        oracle: Oracle,
        sources: Shelf[Source],
        rosters: Shelf[Roster],
        expectations: Expectations,
        report: Report,
        unrecorded: Mapping[int, EventAt],
    ) -> None:
        self._snapshot = snapshot
        self._oracle = oracle
        self._sources = sources
        self._rosters = rosters
        self._expectations = expectations
        self._report = report
        self._unrecorded = unrecorded

    def run(self) -> None:
        """Compare every state table."""
        tables = [(table, self._rows(table)) for table in self._expectations.of_users()]
        for table, _ in tables:
            self._report.count(table.name, 0)
        sources = _ByOwner((key[2], key, source) for key, source in self._sources.sorted_by("user_id"))
        users = _ByOwner((user_id,) for user_id in sorted(filter(self._snapshot.share.has, self._oracle.users)))
        for user_id in _owners(sources, users, *(rows for _, rows in tables)):
            users.take(user_id)
            account = self._account(user_id, sources.take(user_id))
            for table, rows in tables:
                self._compare(table, account, rows.take(user_id))
        self._compare_rosters()

    def _compare_rosters(self) -> None:
        table = self._expectations.of_tournaments()
        self._report.count(table.name, 0)
        rows = self._rows(table)
        rosters = _ByOwner((key[1], roster) for key, roster in self._rosters.sorted_by("id"))
        for tournament in _owners(rows, rosters):
            known = rosters.take(tournament)
            self._compare(table, known[0] if known else (tournament, None), rows.take(tournament))

    def _rows(self, table: Table[Any]) -> _ByOwner:
        owner = table.columns[0]
        statement = f"{table.statement} WHERE {self._snapshot.share.sql(owner)} ORDER BY {owner}"
        return _ByOwner(self._snapshot.stream(statement, portion=PORTION))

    def _account(self, user_id: int, sources: list[Row]) -> Account:
        account = Account(user_id, self._oracle.users.get(user_id), {}, {}, {})
        held: dict[str, dict[Any, Source]] = {
            "tournament": account.tournaments,
            "session": account.sessions,
            "transfer": account.transfers,
        }
        for _, (kind, source_id, _), source in sources:
            if kind in held:
                held[kind][source_id] = source
        return account

    def _compare(self, table: Table[Subject], subject: Subject, rows: list[Row]) -> None:
        matched = 0
        for row in rows:
            values, seq = table.expect(subject, row)
            if values is not None:
                matched += 1
            if values is not AS_GIVEN and values != row[table.keys :]:
                self._differ(table, row, values, seq)
        if rows:
            self._report.count(table.name, len(rows))
        keys = table.all_keys(subject)
        if matched < len(keys):
            self._name_missing(table, subject, keys, {row[: table.keys] for row in rows})

    def _name_missing(self, table: Table[Subject], subject: Subject, keys: Collection[Row], there: set[Row]) -> None:
        for key in keys:
            if key not in there:
                values, seq = table.expect(subject, key)
                if values is not AS_GIVEN and values is not None:
                    wanted = dict(zip(table.columns[table.keys :], values, strict=True))
                    self._note(table, key, wanted, None, seq)

    def _differ(self, table: Table[Any], row: Row, values: Any, seq: int | None) -> None:
        found = dict(zip(table.columns[table.keys :], row[table.keys :], strict=True))
        wanted = None
        if values is not None:
            wanted = dict(zip(found, values, strict=True))
            wrong = [name for name in found if found[name] != wanted[name]]
            found, wanted = {name: found[name] for name in wrong}, {name: wanted[name] for name in wrong}
        self._note(table, row[: table.keys], wanted, found, seq)

    def _note(self, table: Table[Any], key: Row, wanted: Any, found: Any, seq: int | None) -> None:
        user_id = key[0] if table.of_users else None
        at = event_at(self._snapshot, user_id, seq, self._unrecorded)
        where = dict(zip(table.columns[: table.keys], key, strict=True))
        self._report.differences.append(
            Difference(table.name, table.label.format(*key), wanted, found, at, user_id, where, seq)
        )


def event_at(
    snapshot: Snapshot, user_id: int | None, seq: int | None, unrecorded: Mapping[int, EventAt]
) -> EventAt | None:
    """Where the event stands that the receipt with this number came from."""
    if seq is None:
        return None
    if seq < 0:
        return unrecorded.get(seq)
    found = snapshot.rows(
        'SELECT topic, partition, "offset" FROM reward_receipts WHERE user_id = %s AND seq = %s AND topic IS NOT NULL',
        (user_id, seq),
    ) or snapshot.rows(
        'SELECT topic, partition, "offset" FROM reward_receipts WHERE seq = %s AND topic IS NOT NULL', (seq,)
    )
    return EventAt(*found[0]) if found else None


def compare_entries(
    table: str, expected: Sequence[Row], found: Sequence[Row], opaque: frozenset[int]
) -> Iterator[tuple[str, int, Any, Any, int | None]]:
    """The rows of an append-only table that differ: key, user, what is expected, what is found, and whose receipt."""
    columns = ENTRY_COLUMNS[table]
    places = [columns.index(name) for name in ENTRY_KEYS[table]]
    missing = Counter(expected)
    stray: Counter[Row] = Counter(row for row in found if row[-1] not in opaque)
    missing, stray = missing - stray, stray - missing
    strays: dict[Row, list[Row]] = {}
    for row in stray.elements():
        strays.setdefault(tuple(row[place] for place in places), []).append(row)
    for row in missing.elements():
        key = tuple(row[place] for place in places)
        other = strays[key].pop() if strays.get(key) else None
        wanted, got = dict(zip(columns, row, strict=True)), None
        if other is not None:
            wrong = [place for place, value in enumerate(row) if value != other[place]]
            wanted = {columns[place]: row[place] for place in wrong}
            got = {columns[place]: other[place] for place in wrong}
        yield " ".join(map(str, key)), row[0], wanted, got, row[-1]
    for key, rows in strays.items():
        for row in rows:
            yield " ".join(map(str, key)), row[0], None, dict(zip(columns, row, strict=True)), row[-1]
