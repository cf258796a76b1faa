"""Checks the ledger against its seals: which row was changed, removed or inserted, and which seal does not hold."""

import struct
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sinks.chain import CANONICAL, FIRST_ID, LEDGER, NO_SEAL, Block, Seal, fetch_block, hash_of

Kind = Literal["changed", "removed", "inserted", "block", "seal", "trigger", "anchor"]


class Broken(NamedTuple):
    """One thing that is not as it was sealed. `row_id` is an id, or the number of the receipt (of a transfer)."""

    kind: Kind
    table: str
    row_id: int | None
    seal: int | None
    detail: str


class Anchor(NamedTuple):
    """A seal's number and hash as somebody noted them, out of the reach of whoever owns the database."""

    number: int
    hash: bytes


class Checked(NamedTuple):
    """How far the check came: after each seal, and at last."""

    seals: int
    rows: int
    head: Anchor | None


_FETCH: Final = """
SELECT number, table_name, first_id, last_id, row_count, rows_hash, marks, previous_hash, sealed_at, hash
  FROM ledger_seals WHERE number > %s ORDER BY number LIMIT %s
"""
SEALS_AT_ONCE: Final = 20
"""So many are checked in one transaction: a long one would keep Postgres from tidying up behind the workers."""

_UNSEALED: Final = "SELECT count(*) FROM {table} WHERE {ordered_by} > %s"
_SEALED_TO: Final = "SELECT table_name, max(last_id) FROM ledger_seals GROUP BY table_name"

# ALWAYS, which also binds a session that plays the replica.
_GUARDS: Final = """
SELECT tgrelid::regclass::text, tgname FROM pg_trigger
 WHERE NOT tgisinternal AND tgenabled = 'A' AND tgrelid = ANY (%s::regclass[]::oid[]) AND tgname LIKE 'append_only_%%'
"""

_GUARDED: Final = {
    "xp_transactions": ("", "_columns", "_rows"),
    "credit_transactions": ("", "_columns", "_rows"),
    "license_progressions": ("", "_columns", "_rows"),
    "reward_receipts": ("", "_columns", "_rows"),
    "skill_rewards": ("", "_columns"),
    "ledger_seals": ("",),
    "erased_values": ("",),
}
"""The triggers, by how their names end, that keep each table append-only."""

_MARK: Final = struct.Struct(">q4s")


def check_chain(connection: Connection, anchor: Anchor | None = None) -> Iterator[Broken | Checked]:
    """Check all seals in their order, each row under them and the triggers; read only, some seals as of one moment.

    A row's place in its block is not what is checked, only its content: what a row says cannot change unseen.
    """
    chain = _Chain()
    anchored = None
    with connection, connection.cursor() as cursor:
        yield from _check_guards(cursor)
    while True:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(CANONICAL)
            seals = _fetch_seals(cursor, chain.number)
            for seal in seals:
                yield from chain.add(cursor, seal)
                if anchor is not None and seal.number == anchor.number:
                    anchored = seal.hash
                yield chain.checked
        if not seals:
            break
    if anchor is not None and anchored != anchor.hash:
        found = "there is no such seal" if anchored is None else f"its hash is {anchored.hex()}"
        yield Broken("anchor", "ledger_seals", anchor.number, anchor.number, f"noted as {anchor.hash.hex()}; {found}")


def count_unsealed(cursor: Cursor) -> dict[str, int]:
    """How many rows of each table no seal covers yet."""
    cursor.execute(_SEALED_TO)
    sealed_to = dict(cursor.fetchall())
    counts = {}
    for sealed in LEDGER:
        statement = _UNSEALED.format(table=sealed.table, ordered_by=sealed.ordered_by)
        cursor.execute(statement, (sealed_to.get(sealed.table, FIRST_ID),))
        ((counts[sealed.table],),) = cursor.fetchall()
    return counts


def fetch_head(cursor: Cursor) -> Anchor | None:
    """Fetch the newest seal's number and hash: what to note elsewhere."""
    cursor.execute("SELECT number, hash FROM ledger_seals ORDER BY number DESC LIMIT 1")
    row = cursor.fetchone()
    return None if row is None else Anchor(row[0], bytes(row[1]))


def _fetch_seals(cursor: Cursor, after: int) -> list[Seal]:
    cursor.execute(_FETCH, (after, SEALS_AT_ONCE))
    rows: list[list[Any]] = [
        [bytes(value) if isinstance(value, memoryview) else value for value in row] for row in cursor.fetchall()
    ]
    return [Seal(*values) for values in rows]


class _Chain:
    def __init__(self) -> None:
        self.number = FIRST_ID
        self.checked = Checked(0, 0, None)
        self._previous = NO_SEAL
        self._next_ids: dict[str, int] = {}

    def add(self, cursor: Cursor, seal: Seal) -> Iterator[Broken]:
        self.number = seal.number
        number = 1 if self.checked.head is None else self.checked.head.number + 1
        if seal.number != number:
            yield _seal(seal, f"seals {number} to {seal.number - 1} are gone")
        elif seal.previous_hash != self._previous:
            yield _seal(seal, "it does not follow the seal before it")
        if seal.hash != hash_of(seal):
            yield _seal(seal, "it was changed")
        if seal.first_id != self._next_ids.get(seal.table, FIRST_ID):
            yield _seal(seal, f"its range does not begin where the last one of {seal.table} ended")
        self._previous = seal.hash
        self._next_ids[seal.table] = seal.last_id + 1
        sealed = next((one for one in LEDGER if one.table == seal.table), None)
        if sealed is None:
            yield _seal(seal, f"there is no ledger {seal.table}")
            return
        block = fetch_block(cursor, sealed, seal.first_id, seal.last_id)
        if (block.row_count, block.rows_hash) != (seal.row_count, seal.rows_hash):
            yield from _differences(seal, block)
        self.checked = Checked(
            self.checked.seals + 1, self.checked.rows + block.row_count, Anchor(seal.number, seal.hash)
        )


def _differences(seal: Seal, block: Block) -> Iterator[Broken]:
    sealed, found = _marks(seal.marks), _marks(block.marks)
    sealed_ids, found_ids = {id_ for id_, _ in sealed}, {id_ for id_, _ in found}
    kinds: tuple[tuple[Kind, set[int]], ...] = (
        ("removed", sealed_ids - found_ids),
        ("inserted", found_ids - sealed_ids),
        ("changed", {id_ for id_, _ in sealed ^ found} & sealed_ids & found_ids),
    )
    for kind, ids in kinds:
        for id_ in sorted(ids):
            yield Broken(kind, seal.table, id_, seal.number, f"{kind} after {seal.sealed_at.isoformat()}")
    if not any(ids for _, ids in kinds):
        detail = f"the rows {seal.first_id} to {seal.last_id} are not those that were sealed"
        yield Broken("block", seal.table, None, seal.number, detail)


def _marks(marks: bytes) -> set[tuple[int, bytes]]:
    return set(_MARK.iter_unpack(marks[: len(marks) // _MARK.size * _MARK.size]))


def _seal(seal: Seal, detail: str) -> Broken:
    return Broken("seal", "ledger_seals", seal.number, seal.number, detail)


def _check_guards(cursor: Cursor) -> Iterator[Broken]:
    cursor.execute(_GUARDS, (list(_GUARDED),))
    standing = set(cursor.fetchall())
    for table, endings in _GUARDED.items():
        for name in (f"append_only_{table}{ending}" for ending in endings):
            if (table, name) not in standing:
                yield Broken("trigger", table, None, None, f"{name} is gone or switched off")
