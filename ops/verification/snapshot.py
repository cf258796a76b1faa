"""Postgres as one transaction sees it: everything that a verification compares with, read in bounded portions."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ops.oracle import ENTRY_COLUMNS
from ops.oracle.book import row_hash_sql
from ops.verification.numbers import Numbers
from ops.verification.share import EVERYBODY, Share
from ops.verification.shelf import room_needed
from sinks.database import Connect

MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"
PORTION = 5_000
FEW = 200

LEVELS = """
SELECT specialization_id, array_agg(xp_needed ORDER BY level)
FROM specialization_levels JOIN specializations ON specializations.id = specialization_id
WHERE level <= max_levels GROUP BY specialization_id
"""
POSITIONS = """
SELECT topic, partition, log_id, next_offset FROM partition_positions WHERE consumer_group = %s
ORDER BY topic, partition
"""
NUMBERED = """
COPY (SELECT place, "offset", seq
        FROM reward_receipts
        JOIN unnest(%s::text[], %s::integer[], %s::text[], %s::bigint[], %s::bigint[])
             WITH ORDINALITY AS part (topic, partition, log_id, first, past, place) USING (topic, partition, log_id)
       WHERE "offset" >= first AND "offset" < past AND {share}
       ORDER BY place, "offset")
TO STDOUT (FORMAT binary)
"""
RECEIPTS = f"""
SELECT seq, event_key, user_id, corrects, revision, origin, ruleset, topic, log_id, partition, "offset", "grant",
       {MICROSECONDS.format("occurred_at")}
FROM reward_receipts WHERE {{share}} ORDER BY seq
"""
# What users of the share got from others. Their receipts are others' to prove.
INCOMING = """
SELECT seq, (credit ->> 2)::bigint, (credit ->> 1)::bigint
FROM reward_receipts, jsonb_array_elements("grant" -> 'credits') AS credit
WHERE starts_with(event_key, 'transfer_') AND origin <> 'adopted' AND NOT {sender} AND {receiver}
ORDER BY seq
"""
RECORDED = """
SELECT topic, partition, log_id, max("offset") + 1 FROM (
    SELECT topic, partition, log_id, "offset" FROM reward_receipts WHERE topic IS NOT NULL
    UNION ALL
    SELECT topic, partition, log_id, "offset" FROM dead_letters
) AS recorded GROUP BY topic, partition, log_id
"""
LETTERS = """
SELECT topic, partition, "offset", log_id, reason, status, md5(value), user_id FROM dead_letters
 WHERE topic = %s AND partition = %s AND log_id = %s AND "offset" >= %s
 ORDER BY "offset"
"""
FOUND_APART = """
SELECT event_key, specialization_id, progress_level, license_level
FROM sync_plan_items AS item
JOIN reward_receipts ON event_key = concat(
    'command_sync-', plan_id, '-', item.user_id, '-', specialization_id, '_level_', item.user_id)
"""
ADOPTION = """
SELECT coalesce(max(seq), 0), max(recorded_at) FROM reward_receipts WHERE origin = 'adopted'
"""


class ReceiptRow(NamedTuple):
    """A receipt as Postgres holds it."""

    seq: int
    event_key: str
    user_id: int
    corrects: str | None
    revision: int
    origin: str
    ruleset: str | None
    topic: str | None
    log_id: str | None
    partition: int | None
    offset: int | None
    grant: dict[str, Any]
    occurred_us: int


class LetterRow(NamedTuple):
    """A dead letter as Postgres holds it; `digest` is its value's MD5."""

    topic: str
    partition: int
    offset: int
    log_id: str
    reason: str
    status: str
    digest: str | None
    user_id: int | None


class PositionRow(NamedTuple):
    """A position as Postgres holds it."""

    topic: str
    partition: int
    log_id: str
    next_offset: int


class Incoming(NamedTuple):
    """Credits that a receipt of somebody else's gave a user."""

    seq: int
    user_id: int
    amount: int


class Range(NamedTuple):
    """The offsets of a partition's log, `start` up to but not including `end`."""

    topic: str
    partition: int
    log_id: str
    start: int
    end: int


class Exported(NamedTuple):
    """A view that others may share: its name, and which receipts were adopted, up to which number and when, if any."""

    name: str
    adopted_seq: int
    adopted_at: datetime | None


class Snapshot:
    """One repeatable, read-only view of the database, for as long as it is open: of `share` what belongs to users.

    `exported` is another connection's view, to see the same.
    """

    def __init__(self, connect: Connect, share: Share = EVERYBODY, exported: Exported | None = None) -> None:
        self._connect = connect
        self._connection = connect()
        self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        self._cursors = count()
        self.share = share
        if exported is None:
            self.adopted_seq, self.adopted_at = self.rows(ADOPTION)[0]
        else:
            with self._connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION SNAPSHOT %s", (exported.name,))
            self.adopted_seq, self.adopted_at = exported.adopted_seq, exported.adopted_at

    def close(self) -> None:
        """End the transaction."""
        self._connection.close()

    def cursor(self) -> Cursor:
        """A cursor that sees what the snapshot sees."""
        return self._connection.cursor()

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement whose answer is small."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def stream(self, statement: str, values: Sequence[Any] = (), portion: int = PORTION) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement, fetched in portions, each while the one before it is worked on."""
        with (
            self._connection.cursor(f"verify_{next(self._cursors)}") as cursor,
            ThreadPoolExecutor(1, thread_name_prefix="verify-fetch") as fetching,
        ):
            cursor.execute(statement, values)
            coming = fetching.submit(cursor.fetchmany, portion)
            while rows := coming.result():
                coming = fetching.submit(cursor.fetchmany, portion)
                yield from rows

    def levels(self) -> dict[str, tuple[int, ...]]:
        """XP needed for each level of each specialization."""
        return {name: tuple(needs) for name, needs in self.rows(LEVELS)}

    def rulesets(self) -> tuple[dict[str, Any], str]:
        """The contents of all rulesets by hash, and the active one's hash."""
        rows = self.rows("SELECT hash, content, active FROM rulesets")
        return {name: json.loads(content) for name, content, _ in rows}, next(
            name for name, _, active in rows if active
        )

    def positions(self, group: str) -> list[PositionRow]:
        """The group's positions."""
        return [PositionRow(*row) for row in self.rows(POSITIONS, (group,))]

    def recorded(self) -> dict[tuple[str, int, str], int]:
        """By topic, partition and log, the offset behind the last one that something was recorded of."""
        return {(topic, partition, log_id): past for topic, partition, log_id, past in self.rows(RECORDED)}

    def letters(self, part: Range) -> Iterator[LetterRow]:
        """The dead letters of a partition's log from the range's start on, in offset order."""
        with self._connection.cursor(f"verify_{next(self._cursors)}") as cursor:
            cursor.itersize = FEW
            cursor.execute(LETTERS, (part.topic, part.partition, part.log_id, part.start))
            yield from map(LetterRow._make, cursor)

    def receipts(self) -> Iterator[ReceiptRow]:
        """The share's receipts in the order in which they were decided."""
        return map(ReceiptRow._make, self.stream(RECEIPTS.format(share=self.share.sql("user_id"))))

    def incoming(self) -> Iterator[Incoming]:
        """What the share got from others, in the order in which it was decided."""
        if self.share.is_all:
            return iter(())
        sender, receiver = self.share.sql("user_id"), self.share.sql("(credit ->> 2)::bigint")
        return map(Incoming._make, self.stream(INCOMING.format(sender=sender, receiver=receiver)))

    def export(self) -> Exported:
        """What lets other connections see the same, for as long as this is open."""
        return Exported(self.rows("SELECT pg_export_snapshot()")[0][0], self.adopted_seq, self.adopted_at)

    def found_apart(self) -> dict[str, tuple[str, int | None, int | None]]:
        """By the event key of each repair of a desync: the specialization, and the levels it found and was to mend."""
        return {key: tuple(found) for key, *found in self.rows(FOUND_APART)}

    def receipt_number(self, event_key: str) -> int | None:
        """The number of the receipt with this key."""
        rows = self.rows("SELECT seq FROM reward_receipts WHERE event_key = %s", (event_key,))
        return rows[0][0] if rows else None

    def count_users(self, user_ids: Collection[int]) -> int:
        """How many of these users there are."""
        number: int = self.rows("SELECT count(*) FROM users WHERE id = ANY(%s)", (list(user_ids),))[0][0]
        return number

    def numbers(self, ranges: Sequence[Range]) -> "Numbers":
        """Which of the share's receipts names which offset of these ranges."""
        numbers = Numbers(len(ranges))
        columns = [list(column) for column in zip(*ranges, strict=True)] or [[]] * len(Range._fields)
        with room_needed(), self._connection.cursor() as cursor:
            statement = NUMBERED.format(share=self.share.sql("user_id"))
            cursor.copy_expert(cursor.mogrify(statement, columns).decode(), numbers.file)
            numbers.begin()
        return numbers

    def digests(self) -> "Digests":
        """The digests of the append-only tables, gathered beside whatever else is done meanwhile."""
        connection = self._connect()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        return Digests(connection, self.export().name, self.ours())

    def entries(self, table: str, users: Sequence[int]) -> list[tuple[Any, ...]]:
        """Our rows of some users in an append-only table."""
        columns, source = entry_sql(table)
        statement = f"SELECT {', '.join(columns)} FROM {source} WHERE {self.ours()} AND {columns[0]} = ANY(%s)"
        return self.rows(statement, (list(users),))

    def ours(self) -> str:
        """What tells our rows from those that were there when the database was adopted."""
        if self.adopted_at is None:
            return "true"
        moment = f"'{self.adopted_at.isoformat()}'::timestamptz"
        return f"NOT coalesce(e.receipt_seq <= {self.adopted_seq}, e.recorded_at <= {moment})"


def entry_sql(table: str) -> tuple[list[str], str]:
    """The expressions that give an append-only table's compared columns, and what they come from."""
    owner = "license" if table == "license_progressions" else "e"
    columns = []
    for column in ENTRY_COLUMNS[table]:
        named = f"{owner if column in ('user_id', 'specialization_type') else 'e'}.{column}"
        columns.append(MICROSECONDS.format(named) if column.endswith("_at") else named)
    join = " JOIN user_licenses AS license ON license.id = e.user_license_id" if owner == "license" else ""
    return columns, f"{table} AS e{join}"


class Digests:
    """What the append-only tables hold of ours, as another connection sees it that shares the snapshot.

    How many rows each has, and for each user the sum of the hashes of all their rows. Postgres adds up while we fold.
    """

    def __init__(self, connection: Connection, snapshot: str, ours: str) -> None:
        self._connection = connection
        self._ours = ours
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="verify-digests")
        self._gathered = self._pool.submit(self._gather, snapshot)

    def result(self) -> tuple[dict[str, int], dict[int, int]]:
        """Rows by table and digests by user, once they are there."""
        return self._gathered.result()

    def close(self) -> None:
        """Give up what is still going on."""
        if not self._gathered.done():
            self._connection.cancel()
        self._pool.shutdown()
        self._connection.close()

    def _gather(self, snapshot: str) -> tuple[dict[str, int], dict[int, int]]:
        with self._connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        digests: defaultdict[int, int] = defaultdict(int)
        return {table: self._add(table, digests) for table in ENTRY_COLUMNS}, digests

    def _add(self, table: str, digests: dict[int, int]) -> int:
        columns, source = entry_sql(table)
        statement = f"""
SELECT {columns[0]}, count(*), sum({row_hash_sql(tuple(columns))})::text
FROM {source} WHERE {self._ours} GROUP BY 1"""
        total = 0
        with self._connection.cursor(f"verify_{table}") as cursor:
            cursor.itersize = PORTION
            cursor.execute(statement)
            for user_id, rows, digest in cursor:
                total += rows
                digests[user_id] += int(digest)
        return total
