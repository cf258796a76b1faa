"""The ledger as it was: a user's balances at a moment, and every entry with its source, as a stream."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor


class Balance(NamedTuple):
    """What the ledger gives a user up to a moment, the openings included."""

    user_id: int
    at: datetime
    xp: int
    credits: int
    opening_xp: int
    opening_credits: int
    entries: int


class Wanted(NamedTuple):
    """Which entries are meant: recorded from `since` (inclusive) to `until` (exclusive), of one user. None means any."""

    since: datetime | None = None
    until: datetime | None = None
    user_id: int | None = None


COLUMNS: Final[dict[str, type]] = {
    "table": str,
    "id": int,
    "user_id": int,
    "type": str,
    "amount": int,
    "balance_after": int,
    "specialization": str,
    "skill": str,
    "semester_id": int,
    "source_id": int,
    "idempotency_key": str,
    "description": str,
    "created_at": datetime,
    "recorded_at": datetime,
    "event_key": str,
    "revision": int,
    "origin": str,
    "ruleset": str,
    "topic": str,
    "partition": int,
    "offset": int,
    "log_id": str,
}
"""What is told of every entry, and as what. All but the first five, `created_at` and `recorded_at` may be null."""

BATCH: Final = 5_000

# By `recorded_at`, the time of the transaction that wrote the entry; `created_at` is when the award happened.
_BALANCE: Final = """
SELECT u.id, coalesce(%(at)s::timestamptz, now()), u.opening_xp + x.total, u.opening_credits + c.total,
       u.opening_xp, u.opening_credits, x.entries + c.entries
  FROM users u,
       LATERAL (SELECT coalesce(sum(amount), 0)::bigint AS total, count(*) AS entries FROM xp_transactions
                 WHERE user_id = u.id AND recorded_at <= coalesce(%(at)s::timestamptz, now())) x,
       LATERAL (SELECT coalesce(sum(amount), 0)::bigint AS total, count(*) AS entries FROM credit_transactions
                 WHERE user_id = u.id AND recorded_at <= coalesce(%(at)s::timestamptz, now())) c
 WHERE u.id = %(user_id)s
"""

_ENTRIES: Final = {
    "xp_transactions": """
        e.transaction_type, e.amount, e.balance_after, e.specialization_id, NULL, e.semester_id, NULL::bigint,
        e.idempotency_key, e.description""",
    "credit_transactions": """
        e.transaction_type, e.amount, e.balance_after, NULL, NULL, e.semester_id, NULL::bigint, e.idempotency_key,
        e.description""",
    "skill_rewards": """
        e.source_type, e.points_awarded, NULL::bigint, NULL, e.skill_name, NULL::bigint, e.source_id, NULL, NULL""",
}

# What a transfer brought names the sender's receipt.
_SENDER: Final = """
  LEFT JOIN credit_transfers t ON e.transaction_type = 'TRANSFER_IN' AND t.receiver_id = e.user_id
       AND t.receipt_seq = e.receipt_seq"""

_EXPORT: Final = """
SELECT '{table}', e.id, e.user_id, {told}, e.created_at, e.recorded_at,
       r.event_key, r.revision, r.origin, r.ruleset, r.topic, r.partition, r."offset", r.log_id
  FROM {table} e {sender}
  LEFT JOIN reward_receipts r ON r.user_id = {receipt_of} AND r.seq = e.receipt_seq
 WHERE (%(since)s::timestamptz IS NULL OR e.recorded_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR e.recorded_at < %(until)s)
   AND (%(user_id)s::bigint IS NULL OR e.user_id = %(user_id)s)
 ORDER BY e.id
"""


def fetch_balance(cursor: Cursor, user_id: int, at: datetime | None = None) -> Balance | None:
    """Add up what was recorded of a user up to `at` (now, where that is not said); None for nobody we know."""
    cursor.execute(_BALANCE, {"user_id": user_id, "at": at})
    row = cursor.fetchone()
    return None if row is None else Balance(*row)


def stream_entries(connection: Connection, wanted: Wanted) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Every entry that is `wanted`, as of one moment, in batches of rows of `COLUMNS`: table by table, by id.

    Nothing but a batch is held in memory, here or by the server.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # A sort or a hash of everything would keep the first row waiting for the last.
        cursor.execute("SET LOCAL cursor_tuple_fraction = 0.001")
        for table, told in _ENTRIES.items():
            credits = table == "credit_transactions"
            statement = _EXPORT.format(
                table=table,
                told=told,
                sender=_SENDER if credits else "",
                receipt_of="coalesce(t.sender_id, e.user_id)" if credits else "e.user_id",
            )
            with connection.cursor(f"export_{table}") as rows:
                rows.execute(statement, wanted._asdict())
                while batch := rows.fetchmany(BATCH):
                    yield batch
