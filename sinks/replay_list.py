"""Replays as whoever asks sees them."""

from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

Row = dict[str, Any]

_LIST: Final = """
SELECT to_jsonb(r) FROM replay_runs r
 WHERE (%(status)s IS NULL OR status = %(status)s)
 ORDER BY created_at DESC, id LIMIT %(limit)s
"""
_ONE: Final = "SELECT to_jsonb(r) FROM replay_runs r WHERE id = %s"


def list_replays(cursor: Cursor, status: str | None, *, limit: int) -> list[Row]:
    """List replays, the latest first."""
    cursor.execute(_LIST, {"status": status, "limit": limit})
    return [row[0] for row in cursor.fetchall()]


def fetch_replay(cursor: Cursor, id_: str) -> Row | None:
    """Fetch one replay."""
    cursor.execute(_ONE, (id_,))
    row = cursor.fetchone()
    return None if row is None else dict(row[0])
