"""The audit log: who did what to what, written in the transaction that does it."""

from dataclasses import dataclass, field
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

from sinks.jsonb import as_jsonb

_AUDIT: Final = "INSERT INTO audit_log (actor, action, subject, detail) VALUES (%s, %s, %s, %s::jsonb)"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of `audit_log` to be."""

    actor: str
    action: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


def write_audit(cursor: Cursor, entry: AuditEntry) -> None:
    """Write `entry` within the caller's transaction."""
    cursor.execute(_AUDIT, (entry.actor, entry.action, entry.subject, as_jsonb(entry.detail)))
