"""The life of a replay run: begun, halted, gone on with, done or failed."""

import secrets
from time import monotonic
from typing import Any

import msgspec
from psycopg2.extensions import cursor as Cursor

from ops.replay.request import Request, check_logs
from ops.replay.rule_change import rule_change
from ops.replay.running import Advanced, remaining, run_parts
from schemas.errors import LaurelsError
from schemas.settings import Settings
from sinks.audit import AuditEntry, write_audit
from sinks.database import Timeouts, connector
from sinks.ledger.rulesets import fetch_levels
from sinks.replay_list import advance_of
from sinks.replay_runs import RESUMABLE, ReplayHalted, ReplayRun, Status, change_status, fetch_run, take_over
from streams.interpreter import prepared

RUN_BYTES = 4
"""A run's id stands in the types and keys of what it adjusts, for which there is so much room; it is unique."""

HOLDING = Timeouts(statement_ms=60_000, idle_in_transaction_ms=0)


def new_run(request: Request, status: Status, actor: str) -> ReplayRun:
    """A run to be created."""
    return ReplayRun(secrets.token_hex(RUN_BYTES), status, msgspec.to_builtins(request), {}, requested_by=actor)


def find(cursor: Cursor, run_id: str) -> ReplayRun:
    """The run, or an error that says there is none."""
    run = fetch_run(cursor, run_id)
    if run is None:
        message = f"there is no replay {run_id}: see `laurels replay status`"
        raise LaurelsError(message)
    return run


def change(cursor: Cursor, run_id: str, to: Status, only_from: tuple[Status, ...], actor: str) -> None:
    """Give the run another status, in `actor`'s name; an error says why not."""
    found = find(cursor, run_id)
    if not change_status(cursor, run_id, to, only_from=only_from):
        message = f"replay {run_id} is {found.status}: it cannot be {'resumed' if to == 'running' else to}"
        raise LaurelsError(message)
    write_audit(cursor, AuditEntry(actor, f"replay.{to}", f"replay {run_id}"))


def restart(cursor: Cursor, run_id: str, actor: str) -> ReplayRun:
    """Make a run go on, from where it stopped."""
    change(cursor, run_id, "running", RESUMABLE, actor)
    return find(cursor, run_id)


def run(settings: Settings, started: ReplayRun, advanced: Advanced) -> dict[str, Any]:
    """Replay what is left of the run; how it ended. Raises what made it fail, with the run marked so."""
    request = msgspec.convert(started.request, Request)
    parts = remaining(request.parts, started.checkpoints)
    began = monotonic()
    holding = connector(settings.database_url, name=f"laurels replay {started.id}", timeouts=HOLDING)()
    holding.autocommit = True
    try:
        with holding.cursor() as cursor:
            if not take_over(cursor, started.id):
                message = f"replay {started.id} is run by another process"
                raise LaurelsError(message)
            levels = fetch_levels(cursor)
            todo = sum(part.end - part.start for part in parts)
            advanced(request.events - todo)
            with prepared():
                ended = _run(settings, request, parts, started.id, levels.keys(), advanced, cursor)
            seconds = monotonic() - began
            final = find(cursor, started.id)
            read = todo - sum(part.end - part.start for part in remaining(parts, final.checkpoints))
    finally:
        holding.close()
    return {
        "run": started.id,
        "status": ended,
        "events": read,
        "counts": final.counts,
        "seconds": round(seconds, 3),
        "events_per_second": round(read / seconds) if seconds else 0,
    }


def _run(
    settings: Settings, request: Request, parts: Any, run_id: str, levels: Any, advanced: Advanced, cursor: Cursor
) -> Status:
    try:
        check_logs(settings, parts)
        change = rule_change(cursor, request, run_id)
        run_parts(
            settings, request, parts, run_id=run_id, specializations=levels, advanced=advanced, rule_change=change
        )
    except ReplayHalted:
        return find(cursor, run_id).status
    except KeyboardInterrupt:
        change_status(cursor, run_id, "paused", only_from=("running",), error="interrupted")
        raise
    except Exception as error:
        change_status(cursor, run_id, "failed", only_from=("running",), error=str(error))
        raise
    change_status(cursor, run_id, "done", only_from=("running",))
    return find(cursor, run_id).status


def progress(row: dict[str, Any], *, alive: bool) -> dict[str, Any]:
    """A run's row with how far it is."""
    request = msgspec.convert(row["request"], Request)
    advance = advance_of(row)
    interrupted = row["status"] == "running" and not alive
    return {
        "id": row["id"],
        "status": "interrupted" if interrupted else row["status"],
        "events": advance.events,
        "done": advance.done,
        "counts": row["counts"],
        "requested_by": row["requested_by"],
        "error": row["error"],
        "plan": request.plan,
        "ruleset": request.ruleset,
    }


def as_row(run_: ReplayRun) -> dict[str, Any]:
    """The run as `progress` takes it."""
    return {
        name: getattr(run_, name)
        for name in ("id", "status", "request", "checkpoints", "counts", "requested_by", "error")
    }
