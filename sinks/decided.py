"""Credit transfers and level commands as they were decided, read back for whoever asks again."""

from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

Row = dict[str, Any]

_TRANSFER: Final = """
SELECT jsonb_build_object('sender_id', sender_id, 'idempotency_key', idempotency_key, 'receiver_id', receiver_id,
                          'amount', amount, 'memo', memo, 'status', status, 'receipt_seq', receipt_seq,
                          'occurred_at', occurred_at, 'recorded_at', recorded_at)
  FROM credit_transfers
 WHERE sender_id = %s AND idempotency_key = %s
"""

_RECEIPT: Final = """
SELECT jsonb_build_object('event_key', event_key, 'seq', seq, 'user_id', user_id, 'grant', "grant",
                          'occurred_at', occurred_at, 'recorded_at', recorded_at)
  FROM reward_receipts
 WHERE event_key = %s
"""


def fetch_transfer(cursor: Cursor, sender_id: int, idempotency_key: str) -> Row | None:
    """Fetch the transfer that the sender's key stands for."""
    cursor.execute(_TRANSFER, (sender_id, idempotency_key))
    row = cursor.fetchone()
    return None if row is None else dict(row[0])


def fetch_receipt(cursor: Cursor, event_key: str) -> Row | None:
    """Fetch the receipt of an event."""
    cursor.execute(_RECEIPT, (event_key,))
    row = cursor.fetchone()
    return None if row is None else dict(row[0])
