"""The hash chain over the ledger: what was sealed, and the sealing.

A seal covers a range of one table's rows and names the hash of the seal before it, so that nothing under a seal can be
changed, removed or added without either breaking a seal or making every later one anew. Words that an erasure may blank
are in a row's digest by their own hash, which `erased_values` keeps when they go.

Only settled ranges are sealed. Ids are handed out in order and committed in any: a row below the newest id may still be
on its way. So the counters are read first, then who holds a lock on the tables for writing: whoever was given an id
until then either has ended or is among those. Once they have all ended, no row with such an id can come any more.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from sinks.database import Connect

FIRST_ID: Final = -(2**63)
NO_SEAL: Final = bytes(32)
"""What the first seal names as the hash of the one before it."""
WINDOW: Final = 10_000
"""Ids that one seal covers, at most (but for gaps before them)."""
POLL_SECONDS: Final = 0.05

_ALONE: Final = 0x6C6175725345414C
"""The advisory lock of whoever seals; the number spells it."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """How one table is sealed: its rows in the order of `ordered_by`, which `counter` hands out.

    `columns` never change; `words` can be blanked by an erasure. The payload hash of an adopted receipt is not covered:
    it is remembered later, once.
    """

    table: str
    columns: str
    ordered_by: str = "id"
    words: str | None = None
    counter: str = ""

    @property
    def sequence(self) -> str:
        """The sequence behind `ordered_by`."""
        return self.counter or f"{self.table}_id_seq"

    @property
    def order(self) -> str:
        """Unambiguous, also where no constraint keeps two rows from one number."""
        return "id" if self.ordered_by == "id" else f"{self.ordered_by}, digest"


LEDGER: Final = (
    Sealed(
        "xp_transactions",
        "id, user_id, transaction_type, amount, balance_after, semester_id, specialization_id, idempotency_key, "
        "receipt_seq, created_at, recorded_at",
        words="description",
    ),
    Sealed(
        "credit_transactions",
        "id, user_id, user_license_id, transaction_type, amount, balance_after, semester_id, enrollment_id, "
        "idempotency_key, receipt_seq, created_at, recorded_at",
        words="description",
    ),
    Sealed(
        "skill_rewards",
        "id, user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at, recorded_at",
    ),
    Sealed(
        "license_progressions",
        "id, user_license_id, from_level, to_level, advanced_by, receipt_seq, advanced_at, recorded_at",
        words="advancement_reason",
    ),
    Sealed(
        "reward_receipts",
        "event_key, seq, user_id, corrects, revision, origin, "
        "CASE WHEN origin <> 'adopted' THEN payload_hash END, ruleset, topic, log_id, partition, \"offset\", "
        '"grant", occurred_at, recorded_at',
        ordered_by="seq",
        counter="reward_receipts_seq",
    ),
    Sealed(
        "credit_transfers",
        "sender_id, idempotency_key, receiver_id, amount, status, reason, receipt_seq, occurred_at, recorded_at",
        ordered_by="receipt_seq",
        words="memo",
        counter="reward_receipts_seq",
    ),
)


class Seal(NamedTuple):
    """One link: the rows of `table` from `first_id` to `last_id`, both inclusive.

    `marks` are 12 bytes a row, the id and the beginning of its digest: where a block differs, they tell which row does.
    """

    number: int
    table: str
    first_id: int
    last_id: int
    row_count: int
    rows_hash: bytes
    marks: bytes
    previous_hash: bytes
    sealed_at: datetime
    hash: bytes


class Block(NamedTuple):
    """A range of a table as it is now."""

    row_count: int
    rows_hash: bytes
    marks: bytes


class Progress(NamedTuple):
    """What one round of sealing did. `waits_for` others' transactions, or `busy`: someone else seals at this moment."""

    seals: int = 0
    rows: int = 0
    waits_for: int = 0
    busy: bool = False


# A row's text is what Postgres prints, so everything that governs printing is fixed.
CANONICAL: Final = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL bytea_output = 'hex'"

# Aggregated in the order of the rows beneath, which for most tables an index has.
_BLOCK: Final = """
SELECT count(*), sha256(coalesce(string_agg(digest, ''::bytea), ''::bytea)),
       coalesce(string_agg(int8send(id) || substring(digest FOR 4), ''::bytea), ''::bytea)
  FROM (SELECT r.{ordered_by} AS id, sha256(convert_to(ROW({columns})::text, 'UTF8')) AS digest
          FROM {table} r {erased}
         WHERE r.{ordered_by} BETWEEN %s AND %s
         ORDER BY {order}) AS digests
"""

_ERASED: Final = """
          LEFT JOIN (SELECT row_id, value_hash FROM erased_values
                      WHERE table_name = '{table}' AND column_name = '{words}') e ON e.row_id = r.{ordered_by}"""

_WORDS: Final = (
    "CASE WHEN coalesce(r.{words}, '') <> '' THEN sha256(convert_to(r.{words}, 'UTF8')) ELSE e.value_hash END"
)

_NEXT_ID: Final = "SELECT min({ordered_by}) FROM {table} WHERE {ordered_by} BETWEEN %s AND %s"

_COUNTERS: Final = " UNION ALL ".join(
    f"SELECT '{one.table}', CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {one.sequence}"
    for one in LEDGER
)

# Writing takes ROW EXCLUSIVE on a ledger's table before an id is drawn; receipts are numbered after their users are
# locked, which takes ROW SHARE. Both last until the transaction's end.
_WRITERS: Final = """
SELECT DISTINCT virtualtransaction FROM pg_locks
 WHERE locktype = 'relation' AND granted AND mode IN ('RowShareLock', 'RowExclusiveLock')
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND relation = ANY (%s::regclass[]::oid[]) AND pid IS DISTINCT FROM pg_backend_pid()
"""

_LAST_SEAL: Final = "SELECT number, hash FROM ledger_seals ORDER BY number DESC LIMIT 1"
_SEALED_TO: Final = "SELECT max(last_id) FROM ledger_seals WHERE table_name = %s"
_INSERT: Final = """
INSERT INTO ledger_seals (number, table_name, first_id, last_id, row_count, rows_hash, marks, previous_hash, sealed_at,
    hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def hash_of(seal: Seal) -> bytes:
    """What a seal's hash must be, its own member aside."""
    said = (
        "laurels seal 1",
        seal.number,
        seal.table,
        seal.first_id,
        seal.last_id,
        seal.row_count,
        seal.rows_hash.hex(),
        hashlib.sha256(seal.marks).hexdigest(),
        seal.previous_hash.hex(),
        seal.sealed_at.astimezone(UTC).isoformat(timespec="microseconds"),
    )
    return hashlib.sha256("\n".join(map(str, said)).encode()).digest()


def fetch_block(cursor: Cursor, sealed: Sealed, first_id: int, last_id: int) -> Block:
    """Digest the rows of a range as they are now. The transaction must have been made `CANONICAL`."""
    columns, erased = sealed.columns, ""
    if sealed.words is not None:
        parts = {"table": sealed.table, "words": sealed.words, "ordered_by": sealed.ordered_by}
        erased = _ERASED.format(**parts)
        columns = f"{columns}, {_WORDS.format(**parts)}"
    cursor.execute(
        _BLOCK.format(
            table=sealed.table, ordered_by=sealed.ordered_by, order=sealed.order, columns=columns, erased=erased
        ),
        (first_id, last_id),
    )
    ((row_count, rows_hash, marks),) = cursor.fetchall()
    return Block(row_count, bytes(rows_hash), bytes(marks))


def seal_ledger(connect: Connect, *, wait_seconds: float = 10.0) -> Iterator[Progress]:
    """Seal all that is there now and settles within `wait_seconds`; one `Progress` for each seal, the total last.

    Safe beside anything, itself included: each seal is one transaction under an advisory lock.
    """
    with closing(connect()) as connection, connection.cursor() as cursor:
        with connection:
            cursor.execute(_COUNTERS)
            counters: dict[str, int] = dict(cursor.fetchall())
        deadline = time.monotonic() + wait_seconds
        with connection:
            writers = fetch_writers(cursor)
        while writers:
            if time.monotonic() >= deadline:
                yield Progress(waits_for=len(writers))
                return
            time.sleep(POLL_SECONDS)
            with connection:
                writers &= fetch_writers(cursor)
        done = Progress()
        for sealed in LEDGER:
            while True:
                with connection:
                    made = _seal_next(cursor, sealed, counters[sealed.table])
                if made is None or made.busy:
                    done = done._replace(busy=done.busy or made is not None)
                    break
                done = Progress(done.seals + 1, done.rows + made.rows)
                yield done
        yield done


def fetch_writers(cursor: Cursor) -> set[str]:
    """The transactions that may have been given an id, and have not ended."""
    cursor.execute(_WRITERS, (["users", *(sealed.table for sealed in LEDGER)],))
    return {transaction for (transaction,) in cursor.fetchall()}


def _seal_next(cursor: Cursor, sealed: Sealed, until: int) -> Progress | None:
    """Seal the next rows of a table; None where there are none up to the id `until`."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s), clock_timestamp()", (_ALONE,))
    ((alone, now),) = cursor.fetchall()
    if not alone:
        return Progress(busy=True)
    cursor.execute(CANONICAL)
    cursor.execute(_SEALED_TO, (sealed.table,))
    ((sealed_to,),) = cursor.fetchall()
    first_id = FIRST_ID if sealed_to is None else sealed_to + 1
    found = _next_block(cursor, sealed, first_id, until)
    if found is None:
        return None
    last_id, block = found
    cursor.execute(_LAST_SEAL)
    number, previous_hash = cursor.fetchone() or (0, NO_SEAL)
    seal = Seal(number + 1, sealed.table, first_id, last_id, *block, bytes(previous_hash), now, b"")
    cursor.execute(_INSERT, seal._replace(hash=hash_of(seal)))
    return Progress(seals=1, rows=block.row_count)


def _next_block(cursor: Cursor, sealed: Sealed, first_id: int, until: int) -> tuple[int, Block] | None:
    start = first_id
    while start <= until:
        last_id = min(until, max(start, 1) + WINDOW - 1)
        block = fetch_block(cursor, sealed, start, last_id)
        if block.row_count:
            return last_id, block
        cursor.execute(_NEXT_ID.format(table=sealed.table, ordered_by=sealed.ordered_by), (last_id, until))
        ((start,),) = cursor.fetchall()
        if start is None:
            return None
    return None
