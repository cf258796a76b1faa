"""Replays: what was asked for, how far each partition has come, and whether it may go on.

The row is the only word between a running replay and whoever pauses it: every batch moves its checkpoint in its own
transaction, and only while the run is `running`. A run is alive while a session holds its advisory lock, which ends with
the process, however that ends.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from sinks.audit import AuditEntry, write_audit
from sinks.batch import Checkpoint, Recorded

Status = Literal["planned", "running", "paused", "done", "failed", "cancelled"]

RESUMABLE: Final[tuple[Status, ...]] = ("running", "paused", "failed")
"""A run of one of these can go on: one that says it runs may have been killed."""

_LOCK_CLASS: Final = 0x4C52504C
"""Of our advisory locks: one per run."""

_CREATE: Final = """
INSERT INTO replay_runs (id, status, request, checkpoints, requested_by)
VALUES (%(id)s, %(status)s, %(request)s::jsonb, %(checkpoints)s::jsonb, %(actor)s)
"""

_COLUMNS: Final = "id, status, request, checkpoints, counts, requested_by, error"

_FETCH: Final = f"SELECT {_COLUMNS} FROM replay_runs WHERE id = %s"

_FETCH_PLANNED: Final = f"""
SELECT {_COLUMNS} FROM replay_runs WHERE status = 'planned' AND request->>'plan' = %s ORDER BY created_at DESC LIMIT 1
"""

_MOVE: Final = """
UPDATE replay_runs
   SET checkpoints = checkpoints || %(offsets)s::jsonb, updated_at = clock_timestamp(),
       counts = jsonb_build_object(
           'recorded', coalesce((counts->>'recorded')::bigint, 0) + %(recorded)s,
           'duplicates', coalesce((counts->>'duplicates')::bigint, 0) + %(duplicates)s,
           'stale', coalesce((counts->>'stale')::bigint, 0) + %(stale)s,
           'dead_letters', coalesce((counts->>'dead_letters')::bigint, 0) + %(dead_letters)s,
           'adjusted', coalesce((counts->>'adjusted')::bigint, 0) + %(adjusted)s)
 WHERE id = %(id)s AND status = 'running'
"""

_CHANGE: Final = """
UPDATE replay_runs SET status = %(status)s, error = %(error)s, updated_at = clock_timestamp()
 WHERE id = %(id)s AND status = ANY(%(from)s)
"""

_HELD: Final = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND classid = %s AND objsubid = 2
"""


class ReplayHalted(LaurelsError):
    """The run was paused or cancelled: the batch was not recorded."""


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A row of `replay_runs`."""

    id: str
    status: Status
    request: dict[str, Any]
    checkpoints: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    requested_by: str = ""
    error: str | None = None


def create_run(cursor: Cursor, run: ReplayRun) -> None:
    """Write a new run; one that is to run is audited."""
    values = {
        "id": run.id,
        "status": run.status,
        "request": msgspec.json.encode(run.request).decode(),
        "checkpoints": msgspec.json.encode(run.checkpoints).decode(),
        "actor": run.requested_by,
    }
    cursor.execute(_CREATE, values)
    if run.status == "running":
        write_audit(cursor, AuditEntry(run.requested_by, "replay.applied", f"replay {run.id}", run.request))


def fetch_run(cursor: Cursor, run_id: str) -> ReplayRun | None:
    """Fetch one run."""
    cursor.execute(_FETCH, (run_id,))
    row = cursor.fetchone()
    return None if row is None else ReplayRun(*row)


def fetch_planned(cursor: Cursor, plan: str) -> ReplayRun | None:
    """Fetch the latest plan with this hash."""
    cursor.execute(_FETCH_PLANNED, (plan,))
    row = cursor.fetchone()
    return None if row is None else ReplayRun(*row)


def write_checkpoint(cursor: Cursor, checkpoint: Checkpoint, recorded: Recorded) -> None:
    """Move the run's checkpoint within the caller's transaction. Raises `ReplayHalted` when it no longer runs."""
    values = {
        "id": checkpoint.run_id,
        "offsets": msgspec.json.encode(checkpoint.next_offsets).decode(),
        "recorded": recorded.recorded,
        "duplicates": recorded.duplicates,
        "stale": recorded.stale,
        "dead_letters": recorded.dead_letters,
        "adjusted": recorded.adjusted,
    }
    cursor.execute(_MOVE, values)
    if not cursor.rowcount:
        message = f"replay {checkpoint.run_id} was paused or cancelled"
        raise ReplayHalted(message)


def change_status(
    cursor: Cursor, run_id: str, status: Status, *, only_from: tuple[Status, ...], error: str | None = None
) -> bool:
    """Give the run another status if it has one of `only_from`; whether it had."""
    cursor.execute(_CHANGE, {"id": run_id, "status": status, "error": error, "from": list(only_from)})
    return bool(cursor.rowcount)


def take_over(cursor: Cursor, run_id: str) -> bool:
    """Make this session the one that runs it; False where another one does."""
    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, _lock_key(run_id)))
    row: Any = cursor.fetchone()
    return bool(row[0])


def fetch_alive(cursor: Cursor, run_ids: Collection[str]) -> set[str]:
    """Those of the runs that some session runs."""
    cursor.execute(_HELD, (_LOCK_CLASS,))
    held = {key for (key,) in cursor.fetchall()}
    return {run_id for run_id in run_ids if _lock_key(run_id) in held}


def _lock_key(run_id: str) -> int:
    return int(run_id[:7], 16)
