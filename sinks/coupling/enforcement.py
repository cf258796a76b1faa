"""Whether the database itself refuses, at commit, what leaves progress and license apart; and the switch for it."""

from typing import Final, Literal

from psycopg2.errors import InsufficientPrivilege, LockNotAvailable
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from sinks.audit import AuditEntry, write_audit
from sinks.coupling.desyncs import count_desyncs, has_desyncs

Mode = Literal["observe", "enforce", "partly"]
"""`partly` is what somebody made by hand: only some of the triggers are on."""

TABLES: Final = ("specialization_progress", "user_licenses")
EVENTS: Final = ("insert", "update", "delete", "truncate")
TRIGGERS: Final = (
    *((table, f"coupled_{table}_{event}") for table in TABLES for event in EVENTS),
    ("coupling_checks", "coupled_at_commit"),
)
"""What statements touch is kept by the first ones, and checked by the last."""
LOCK_TIMEOUT: Final = "5s"
"""How long the switch may wait for the writers at work, while those that come later wait for it."""

_ENABLED: Final = """
SELECT count(*) FROM unnest(%s::text[], %s::text[]) AS wanted (table_name, name)
  JOIN pg_trigger ON tgrelid = to_regclass(table_name) AND tgname = name
 WHERE tgenabled IN ('A', 'O')
"""


class Apart(LaurelsError):
    """Coupling cannot be enforced while there are desyncs."""


class NotSwitched(LaurelsError):
    """The switch could not be made; the message says why."""


def fetch_mode(cursor: Cursor) -> Mode:
    """What the database does about a transaction that leaves the two apart."""
    cursor.execute(_ENABLED, [list(column) for column in zip(*TRIGGERS, strict=True)])
    row = cursor.fetchone()
    enabled = row[0] if row else 0
    if not enabled:
        return "observe"
    return "enforce" if enabled == len(TRIGGERS) else "partly"


def enforce(connection: Connection, *, actor: str) -> None:
    """Refuse such transactions from now on, by whomever. Raises `Apart` while there are desyncs."""
    with connection, connection.cursor() as cursor:
        # Looked at first without a lock: whoever has desyncs need not make writers wait to be told.
        _refuse_desyncs(cursor)
    _switch(connection, "ENABLE ALWAYS", actor=actor, mode="enforce")


def observe(connection: Connection, *, actor: str) -> None:
    """Let such transactions through from now on: reconciliation raises an alert for what they leave."""
    _switch(connection, "DISABLE", actor=actor, mode="observe")


def _switch(connection: Connection, change: str, *, actor: str, mode: Mode) -> None:
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            # Waits for the writers that are at work and keeps others out: nobody comes in between look and switch.
            cursor.execute(f"LOCK TABLE {', '.join(TABLES)} IN SHARE ROW EXCLUSIVE MODE")
            if mode == "enforce":
                _refuse_desyncs(cursor)
            for table, trigger in TRIGGERS:
                # Always: also where a session calls itself a replica.
                cursor.execute(f"ALTER TABLE {table} {change} TRIGGER {trigger}")
            write_audit(cursor, AuditEntry(actor, f"coupling.{mode}", "coupling"))
    except InsufficientPrivilege as error:
        message = "only the owner of the tables may switch this: set DATABASE_URL to the user that migrates"
        raise NotSwitched(message) from error
    except LockNotAvailable as error:
        message = f"writers held their rows for {LOCK_TIMEOUT}: nothing was changed, try again"
        raise NotSwitched(message) from error


def _refuse_desyncs(cursor: Cursor) -> None:
    if not has_desyncs(cursor):
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in count_desyncs(cursor).items() if count)
    message = f"there are desyncs ({counts}): mend them first, see `laurels sync find`"
    raise Apart(message)
