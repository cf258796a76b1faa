"""When scheduled work last ran, and the lock by which exactly one process at a time does it."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from sinks.jsonb import as_jsonb

FAILED_AGAIN_SECONDS: Final = 60.0
"""What failed, or was killed in the middle, is tried again so soon, if its own turn does not come before."""

# Held by the session: whoever dies gives it back.
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('laurels task ' || %s, 0))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended('laurels task ' || %s, 0))"

_BEGIN: Final = """
INSERT INTO scheduled_runs AS run (task, started_by) VALUES (%(task)s, %(owner)s)
ON CONFLICT ON CONSTRAINT pk_scheduled_runs DO UPDATE
SET started_by = EXCLUDED.started_by, started_at = now(), finished_at = NULL, outcome = NULL
WHERE run.started_at <= now() - make_interval(secs =>
    CASE WHEN run.finished_at IS NULL OR run.outcome ? 'error' THEN least(%(every)s, %(again)s) ELSE %(every)s END)
"""

# Whoever is at it goes on, and its end does not take the request back.
_ASK: Final = """
INSERT INTO scheduled_runs (task, started_by, started_at) VALUES (%s, 'nobody yet', 'epoch')
ON CONFLICT ON CONSTRAINT pk_scheduled_runs DO UPDATE SET started_at = 'epoch'
"""

_LAST: Final = "SELECT started_at, finished_at, outcome FROM scheduled_runs WHERE task = %s"

_FINISH: Final = "UPDATE scheduled_runs SET finished_at = now(), outcome = %s::jsonb WHERE task = %s"


class LastRun(NamedTuple):
    """When a task last began and ended, and what came of it; no end while somebody is at it, or where it was killed."""

    started_at: datetime
    finished_at: datetime | None
    outcome: dict[str, Any] | None


def begin_run(cursor: Cursor, task: str, *, every_seconds: float, owner: str) -> bool:
    """Take the task's lock and note that it begins, if it is its time and nobody is at it.

    The lock stays with the session until `end_run`.
    """
    cursor.execute(_LOCK, (task,))
    if cursor.fetchone() != (True,):
        return False
    cursor.execute(_BEGIN, {"task": task, "owner": owner, "every": every_seconds, "again": FAILED_AGAIN_SECONDS})
    if cursor.rowcount:
        return True
    cursor.execute(_UNLOCK, (task,))
    return False


def ask_for_run(cursor: Cursor, task: str) -> None:
    """Make it the task's time, whenever it last began."""
    cursor.execute(_ASK, (task,))


def end_run(cursor: Cursor, task: str, outcome: dict[str, Any]) -> None:
    """Note what came of the task's run, and give its lock back."""
    cursor.execute(_FINISH, (as_jsonb(outcome), task))
    cursor.execute(_UNLOCK, (task,))


def fetch_last_run(cursor: Cursor, task: str) -> LastRun | None:
    """Fetch when the task last ran; None where it never did."""
    cursor.execute(_LAST, (task,))
    row = cursor.fetchone()
    return None if row is None else LastRun(*row)
