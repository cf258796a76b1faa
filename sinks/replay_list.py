"""Replays as whoever asks sees them."""

from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from sinks.replay_runs import RESUMABLE, Status

Row = dict[str, Any]

_LIST: Final = """
SELECT to_jsonb(r) FROM replay_runs r
 WHERE (%(status)s IS NULL OR status = %(status)s)
 ORDER BY created_at DESC, id LIMIT %(limit)s
"""

_CURRENT: Final = """
SELECT to_jsonb(r) FROM replay_runs r
 WHERE status = ANY(%(resumable)s)
    OR id IN (SELECT id FROM replay_runs ORDER BY created_at DESC, id LIMIT %(latest)s)
 ORDER BY created_at DESC, id
"""
_ONE: Final = "SELECT to_jsonb(r) FROM replay_runs r WHERE id = %s"


class Advance(NamedTuple):
    """How far a replay is: of so many offsets, so many are read."""

    events: int
    done: int


def advance_of(run: Row) -> Advance:
    """How far the replay is by its checkpoints."""
    events = left = 0
    for part in run["request"].get("parts", ()):
        start, end = part["start"], part["end"]
        events += end - start
        left += end - min(max(start, run["checkpoints"].get(f"{part['topic']}/{part['partition']}", start)), end)
    return Advance(events, events - left)


def list_replays(cursor: Cursor, status: Status | None, *, limit: int | None) -> list[Row]:
    """List replays, the latest first; all of them without a limit."""
    cursor.execute(_LIST, {"status": status, "limit": limit})
    return [row[0] for row in cursor.fetchall()]


def list_current(cursor: Cursor, *, latest: int) -> list[Row]:
    """List the replays that can be resumed, however old, and the latest ones, whatever they are; the latest first."""
    cursor.execute(_CURRENT, {"resumable": list(RESUMABLE), "latest": latest})
    return [row[0] for row in cursor.fetchall()]


def fetch_replay(cursor: Cursor, id_: str) -> Row | None:
    """Fetch one replay."""
    cursor.execute(_ONE, (id_,))
    row = cursor.fetchone()
    return None if row is None else dict(row[0])
