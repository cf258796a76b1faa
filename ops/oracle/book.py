"""What the oracle writes its append-only rows into: a book that keeps them, or one that keeps a digest per user.

A digest is the sum of the rows' hashes in all tables, so that rows may come in any order, and Postgres can compute the
same from its own rows: `ENTRY_COLUMNS` are what both sides put into a row's text.
"""

import struct
from collections import defaultdict
from hashlib import md5
from typing import Any, Final, Protocol

Row = tuple[Any, ...]

ENTRY_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "xp_transactions": (
        "user_id", "idempotency_key", "transaction_type", "amount", "semester_id", "specialization_id", "created_at",
        "receipt_seq",
    ),
    "credit_transactions": (
        "user_id", "idempotency_key", "transaction_type", "amount", "semester_id", "created_at", "receipt_seq",
    ),
    "skill_rewards": (
        "user_id", "source_type", "source_id", "skill_name", "points_awarded", "created_at", "receipt_seq",
    ),
    "license_progressions": (
        "user_id", "specialization_type", "from_level", "to_level", "advanced_at", "receipt_seq",
    ),
}  # fmt: skip
"""Times are microseconds since 1970; `receipt_seq` is the receipt's number, None where none was given."""

ENTRY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "xp_transactions": ("idempotency_key",),
    "credit_transactions": ("idempotency_key",),
    "skill_rewards": ("user_id", "source_type", "source_id", "skill_name"),
    "license_progressions": ("user_id", "specialization_type", "receipt_seq"),
}


class Book(Protocol):
    """Takes the rows that the oracle expects in the append-only tables."""

    def write(self, table: str, row: Row) -> None:
        """Add one row; its first column is the user."""


class RowBook:
    """Keeps every row, or those of some users."""

    def __init__(self, only: frozenset[int] | None = None) -> None:
        self.only = only
        self.rows: dict[str, list[Row]] = {table: [] for table in ENTRY_COLUMNS}

    def write(self, table: str, row: Row) -> None:
        """Keep the row."""
        if self.only is None or row[0] in self.only:
            self.rows[table].append(row)


class DigestBook:
    """Keeps, per user, the sum of the rows' hashes."""

    def __init__(self) -> None:
        self.digests: defaultdict[int, int] = defaultdict(int)

    def write(self, table: str, row: Row) -> None:  # noqa: ARG002 - a table's rows look like no other's
        """Add the row's hash to its user's."""
        self.digests[row[0]] += row_hash(row)


_JOINED: Final = tuple("|".join(["%s"] * columns) for columns in range(max(map(len, ENTRY_COLUMNS.values())) + 1))
_FIRST_64_BITS: Final = struct.Struct(">Q8x").unpack


def row_hash(row: Row) -> int:
    """The first sixty bits of the MD5 of the row's text: columns joined by `|`, a null as `None`."""
    text = _JOINED[len(row)] % row
    bits: int = _FIRST_64_BITS(md5(text.encode(), usedforsecurity=False).digest())[0]
    return bits >> 4


def row_hash_sql(columns: tuple[str, ...]) -> str:
    """The same in SQL, over expressions that give the columns."""
    text = ", ".join(f"coalesce({column}::text, 'None')" for column in columns)
    return f"('x' || substr(md5(concat_ws('|', {text})), 1, 15))::bit(60)::bigint"
