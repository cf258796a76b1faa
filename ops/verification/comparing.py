"""Compares the oracle's state with Postgres, user by user and row by row, once the log is folded.

All that is read, from Postgres and from the shelf of sources, comes in the order of the users: one user's at a time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from ops.oracle import ENTRY_COLUMNS, ENTRY_KEYS, Oracle, Roster, ratings
from ops.oracle.ratings import Ratings
from ops.oracle.state import Source, Standing, User
from ops.verification.adoption import Adoption
from ops.verification.report import Difference, EventAt, Report
from ops.verification.shelf import Shelf
from ops.verification.snapshot import MICROSECONDS, Snapshot

PORTION: Final = 1_000
"""As many rows of each table are fetched at once, since all tables are read side by side."""

AS_GIVEN = object()
"""In place of the values expected: nobody can tell, so the row is taken as it is."""


class Expected(NamedTuple):
    """What a row must hold. `values` is None where there must be no row."""

    user_id: int | None
    key: str
    values: Any
    seq: int | None = None


class Account(NamedTuple):
    """All that the oracle remembers of one user: at least what `user` would say, if it is None."""

    user_id: int
    user: User | None
    tournaments: dict[int, Source]
    sessions: dict[int, Source]
    transfers: dict[str, Source]


Rostered = tuple[int, Roster | None]
"""A tournament, and the roster that stands for it."""

Subject = TypeVar("Subject")


class Table(NamedTuple, Generic[Subject]):
    """How one table is compared: its rows' columns after the first `keys` are values, and the first says whose it is."""

    name: str
    columns: tuple[str, ...]
    keys: int
    statement: str
    expect: Callable[[Subject, tuple[Any, ...]], Expected]
    all_keys: Callable[[Subject], Collection[tuple[Any, ...]]]


class _ByOwner:
    """Rows in the order of their owners, handed out owner by owner."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._group: Iterator[tuple[Any, ...]]
        self.owner: int | None
        self._move_on()

    def _move_on(self) -> None:
        self.owner, self._group = next(self._groups, (None, iter(())))

    def take(self, owner: int) -> list[tuple[Any, ...]]:
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
    """The comparison of state tables. Participations and attendances go first: they say what given sources were."""

    def __init__(
        self,
        snapshot: Snapshot,
        oracle: Oracle,
        sources: Shelf[Source],
        rosters: Shelf[Roster],
        adoption: Adoption,
        report: Report,
        *,
        logs: Mapping[tuple[str, int], int],
        unrecorded: dict[int, EventAt],
    ) -> None:
        self._snapshot = snapshot
        self._oracle = oracle
        self._sources = sources
        self._rosters = rosters
        self._adoption = adoption
        self._report = report
        self._logs = logs
        self._unrecorded = unrecorded
        self._rated: tuple[int, dict[str, Ratings]] = (0, {})

    def run(self) -> None:
        """Compare every state table."""
        tables = [(table, self._rows(table)) for table in self._tables()]
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
        table = self._roster_table()
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

    def _account(self, user_id: int, sources: list[tuple[Any, ...]]) -> Account:
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

    def _compare(self, table: Table[Subject], subject: Subject, rows: list[tuple[Any, ...]]) -> None:
        matched = 0
        for row in rows:
            expected = table.expect(subject, row)
            if expected.values is AS_GIVEN:
                matched += 1
                continue
            if expected.values is not None:
                matched += 1
            if expected.values != row[table.keys :]:
                self._differ(table, expected, row)
        if rows:
            self._report.count(table.name, len(rows))
        keys = table.all_keys(subject)
        if matched < len(keys):
            self._name_missing(table, subject, keys, {row[: table.keys] for row in rows})

    def _name_missing(
        self,
        table: Table[Subject],
        subject: Subject,
        keys: Collection[tuple[Any, ...]],
        there: set[tuple[Any, ...]],
    ) -> None:
        for key in keys:
            if key not in there:
                expected = table.expect(subject, key)
                if expected.values is not AS_GIVEN and expected.values is not None:
                    values = dict(zip(table.columns[table.keys :], expected.values, strict=True))
                    self._note(table, key, expected, values, None)

    def _differ(self, table: Table[Any], expected: Expected, row: tuple[Any, ...]) -> None:
        found = dict(zip(table.columns[table.keys :], row[table.keys :], strict=True))
        wanted = None
        if expected.values is not None:
            wanted = dict(zip(found, expected.values, strict=True))
            wrong = [name for name in found if found[name] != wanted[name]]
            found, wanted = {name: found[name] for name in wrong}, {name: wanted[name] for name in wrong}
        self._note(table, row, expected, wanted, found)

    def _note(self, table: Table[Any], row: tuple[Any, ...], expected: Expected, wanted: Any, found: Any) -> None:
        at = event_at(self._snapshot, expected.user_id, expected.seq, self._unrecorded)
        where = dict(zip(table.columns[: table.keys], row, strict=False))
        self._report.differences.append(
            Difference(table.name, expected.key, wanted, found, at, expected.user_id, where, expected.seq)
        )

    # Tables.

    def _tables(self) -> Iterator[Table[Account]]:
        yield _table(
            "tournament_participations",
            "user_id semester_id placement participants skills specialization_id status revision achieved_at "
            "xp_awarded credits_awarded",
            2,
            self._participation,
            lambda account: [(account.user_id, source) for source in account.tournaments],
        )
        yield _table(
            "session_attendances",
            "user_id session_id specialization_id status revision minutes theory_hours practice_hours skills occurred_at",
            2,
            self._attendance,
            lambda account: [(account.user_id, source) for source in account.sessions],
        )
        yield _table(
            "users",
            "id xp_balance credit_balance",
            1,
            self._user,
            lambda account: [(account.user_id,)] if account.user else [],
        )
        yield _table(
            "specialization_progress",
            "student_id specialization_id current_level total_xp completed_sessions theory_hours_completed "
            "practice_hours_completed level_adjustment milestones_paid",
            2,
            self._progress,
            lambda account: [(account.user_id, name) for name, s in _standings(account) if s.level],
        )
        yield _table(
            "user_licenses",
            "user_id specialization_type current_level max_achieved_level football_skills",
            2,
            self._license,
            lambda account: [(account.user_id, name) for name, s in _standings(account) if s.license],
        )
        yield _table(
            "tournament_badges",
            "user_id semester_id badge_type earned_at revoked_at",
            3,
            self._badge,
            lambda account: [
                (account.user_id, tournament, badge)
                for tournament, source in account.tournaments.items()
                for badge in source.badges
            ],
        )
        yield _table(
            "credit_transfers",
            "sender_id idempotency_key receiver_id amount memo status reason receipt_seq occurred_at",
            2,
            self._transfer,
            lambda account: [(account.user_id, key) for key in account.transfers],
        )

    def _roster_table(self) -> Table[Rostered]:
        return _table(
            "tournament_rosters",
            'tournament_id participants user_ids finalized_at log_id partition "offset"',
            1,
            self._roster,
            lambda rostered: [rostered[:1]] if rostered[1] else [],
        )

    def _participation(self, account: Account, row: tuple[Any, ...]) -> Expected:
        user_id, tournament = row[:2]
        source = account.tournaments.get(tournament)
        key = f"user {user_id}, tournament {tournament}"
        if source is None:
            return Expected(user_id, key, None)
        if source.row is None:
            if row[2:] and not source.adopted:
                self._enter(account.user, row[5])
            self._learn(source, row)
            return Expected(user_id, key, AS_GIVEN)
        _, placement, participants, specialization, skills, at = source.row
        status = "withdrawn" if source.withdrawn else "final"
        values = (placement, participants, _listed(skills), specialization, status, source.revision, at)
        return Expected(user_id, key, (*values, source.given.xp, source.given.credits), source.seq)

    def _attendance(self, account: Account, row: tuple[Any, ...]) -> Expected:
        user_id, session = row[:2]
        source = account.sessions.get(session)
        key = f"user {user_id}, session {session}"
        if source is None:
            return Expected(user_id, key, None)
        if source.row is None:
            if row[2:] and not source.adopted:
                self._enter(account.user, row[2])
            return Expected(user_id, key, AS_GIVEN)
        status, specialization, minutes, theory, practice, skills, at = source.row
        status = "withdrawn" if source.withdrawn else status
        values = (specialization, status, source.revision, minutes, theory, practice, _listed(skills), at)
        return Expected(user_id, key, values, source.seq)

    @staticmethod
    def _enter(user: User | None, specialization: str) -> None:
        """A source that gave nothing leaves no trace in its grant, but it created the progress and the license."""
        assert user is not None
        standing = user.standings.setdefault(specialization, Standing())
        level = standing.level or standing.license or 1
        standing.level, standing.license = standing.level or level, standing.license or level

    @staticmethod
    def _learn(source: Source, row: tuple[Any, ...]) -> None:
        """Take a result that no log speaks of as its row has it: it counts for ratings."""
        if row[2:] and row[7] == source.revision and not source.adopted:
            skills = tuple((skill["name"], skill.get("performance")) for skill in row[4])
            source.row = (row[6], row[2], row[3], row[5], skills, row[8])
            source.withdrawn = row[6] == "withdrawn"

    @staticmethod
    def _user(account: Account, row: tuple[Any, ...]) -> Expected:
        user = account.user
        if user is None:
            # Registered by the academy: no event speaks of them yet.
            return Expected(row[0], f"user {row[0]}", row[1:] if row[1:] == (0, 0) else None)
        return Expected(row[0], f"user {row[0]}", (user.xp, user.credits))

    @staticmethod
    def _progress(account: Account, row: tuple[Any, ...]) -> Expected:
        user_id, specialization = row[:2]
        key = f"user {user_id}, {specialization}"
        user = account.user
        standing = user.standings.get(specialization) if user else None
        if user is None or standing is None or standing.level is None:
            return Expected(user_id, key, AS_GIVEN if user and user.loose else None)
        if user.loose:
            totals = row[4:7] if row[2:] else (0, 0, 0)
            return Expected(
                user_id, key, (standing.level, standing.xp, *totals, standing.adjustment, *(row[8:] or (0,)))
            )
        totals = (standing.xp, standing.sessions, standing.theory, standing.practice)
        return Expected(user_id, key, (standing.level, *totals, standing.adjustment, standing.milestones))

    def _license(self, account: Account, row: tuple[Any, ...]) -> Expected:
        user_id, specialization = row[:2]
        key = f"user {user_id}, {specialization}"
        user = account.user
        standing = user.standings.get(specialization) if user else None
        if user is None or standing is None or standing.license is None:
            return Expected(user_id, key, AS_GIVEN if user and user.loose else None)
        if self._rated[0] != user_id:
            adopted = self._adoption.skills.get(user_id)
            rated = ratings(account.tournaments, self._oracle.rules, self._oracle.active, adopted)
            self._rated = (user_id, rated)
        skills = {
            name: {"rating": rating, "results": results}
            for name, (rating, results) in self._rated[1].get(specialization, {}).items()
        } or None
        return Expected(user_id, key, (standing.license, standing.highest, skills))

    @staticmethod
    def _badge(account: Account, row: tuple[Any, ...]) -> Expected:
        user_id, tournament, badge = row[:3]
        key = f"user {user_id}, tournament {tournament}, {badge}"
        source = account.tournaments.get(tournament)
        held = source.badges.get(badge) if source else None
        if source is None or held is None:
            return Expected(user_id, key, None)
        earned, revoked = held
        if not earned and row[3:]:
            earned = row[3]
        return Expected(user_id, key, (earned, revoked), source.seq)

    @staticmethod
    def _transfer(account: Account, row: tuple[Any, ...]) -> Expected:
        sender, idempotency_key = row[:2]
        key = f"transfer_{sender}-{idempotency_key}_transfer_{sender}"
        source = account.transfers.get(idempotency_key)
        if source is None:
            return Expected(sender, key, None)
        if source.result is None or source.payload is None:
            return Expected(sender, key, AS_GIVEN)
        receiver, amount, memo = source.payload
        if row[2:] and not row[4]:
            memo = ""  # erased, or never there: the receipt keeps the payload's hash
        reason = "insufficient_funds" if source.result == "REJECTED" else None
        values = (receiver, amount, memo, source.result, reason, source.seq, source.occurred_us)
        return Expected(sender, key, values, source.seq)

    def _roster(self, rostered: Rostered, row: tuple[Any, ...]) -> Expected:
        tournament, roster = rostered
        key = f"tournament {tournament}"
        if row[1:] and row[6] < self._logs.get((row[4], row[5]), row[6] + 1):
            self._report.unverifiable += 1
            return Expected(None, key, AS_GIVEN)
        if roster is None:
            return Expected(None, key, None)
        users = None if roster.user_ids is None else list(roster.user_ids)
        log_id = next((log for log, partition in self._logs if partition == roster.partition), "")
        if row[1:]:
            log_id = row[4]
        return Expected(
            None, key, (roster.participants, users, roster.finalized_us, log_id, roster.partition, roster.offset)
        )


def _listed(skills: Sequence[tuple[str, float | None]]) -> list[dict[str, Any]]:
    return [{"name": name, "performance": performance} for name, performance in skills]


def _table(
    name: str,
    columns: str,
    keys: int,
    expect: Callable[[Subject, tuple[Any, ...]], Expected],
    all_keys: Callable[[Subject], Collection[tuple[Any, ...]]],
) -> Table[Subject]:
    names = tuple(columns.split())
    expressions = [
        "revoked_at IS NOT NULL" if c == "revoked_at" else MICROSECONDS.format(c) if c.endswith("_at") else c
        for c in names
    ]
    return Table(name, names, keys, f"SELECT {', '.join(expressions)} FROM {name}", expect, all_keys)


def _standings(account: Account) -> Collection[tuple[str, Standing]]:
    return account.user.standings.items() if account.user else ()


def event_at(
    snapshot: Snapshot, user_id: int | None, seq: int | None, unrecorded: dict[int, EventAt]
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
    table: str, expected: Sequence[tuple[Any, ...]], found: Sequence[tuple[Any, ...]], opaque: frozenset[int]
) -> Iterator[tuple[str, int, Any, Any, int | None]]:
    """The rows of an append-only table that differ: key, user, what is expected, what is found, and whose receipt."""
    columns = ENTRY_COLUMNS[table]
    places = [columns.index(name) for name in ENTRY_KEYS[table]]
    missing = Counter(expected)
    stray: Counter[tuple[Any, ...]] = Counter(row for row in found if row[-1] not in opaque)
    missing, stray = missing - stray, stray - missing
    strays: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
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
