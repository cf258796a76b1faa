"""What operators do with alerts: look at them, acknowledge them, silence them for a while."""

import re
from datetime import timedelta
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from schemas.messages import AlertStatus
from sinks.audit import AuditEntry, write_audit

Row = dict[str, Any]

_LIST: Final = """
SELECT to_jsonb(a) FROM reward_alerts a
 WHERE (%(status)s IS NULL OR status = %(status)s) AND (%(kind)s IS NULL OR kind = %(kind)s)
   AND (%(subject)s IS NULL OR subject = %(subject)s)
 ORDER BY status, array_position(ARRAY['critical', 'warning', 'info'], severity), last_seen DESC, fingerprint
 LIMIT %(limit)s
"""

_SHOW: Final = "SELECT to_jsonb(a) FROM reward_alerts a WHERE fingerprint LIKE %s ORDER BY fingerprint LIMIT 2"

_COUNT: Final = "SELECT kind, count(*) FROM reward_alerts WHERE status = 'firing' GROUP BY kind"

_SILENCES: Final = "SELECT to_jsonb(s) FROM alert_silences s WHERE expires_at > now() ORDER BY id"

_SILENCE: Final = """
INSERT INTO alert_silences (kind, subject, reason, created_by, expires_at)
VALUES (%(kind)s, %(subject)s, %(reason)s, %(actor)s, now() + %(lasting)s)
RETURNING to_jsonb(alert_silences)
"""

# An expired silence stays on record, so ending one early only moves its end.
_END_SILENCE: Final = """
UPDATE alert_silences SET expires_at = greatest(now(), created_at + interval '1 microsecond')
 WHERE id = %s AND expires_at > now()
RETURNING to_jsonb(alert_silences)
"""

_ACKNOWLEDGE: Final = """
UPDATE reward_alerts SET acknowledged_by = %s WHERE fingerprint = %s AND status = 'firing'
RETURNING to_jsonb(reward_alerts)
"""

PERIOD: Final = "[1-9][0-9]{0,4}[mhd]"
"""How long a silence lasts, such as 30m, 4h or 2d."""
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class NoPeriod(LaurelsError):
    """A silence was to last for something that is no period."""


class AlertFilter(NamedTuple):
    """Which alerts are meant; None means any."""

    status: AlertStatus | None = None
    kind: str | None = None
    subject: str | None = None


def list_alerts(cursor: Cursor, wanted: AlertFilter, *, limit: int = 100) -> list[Row]:
    """List alerts: the firing ones first, the worst of them before the others."""
    cursor.execute(_LIST, {**wanted._asdict(), "limit": limit})
    return [row[0] for row in cursor.fetchall()]


def fetch_alert(cursor: Cursor, fingerprint: str) -> Row | None:
    """Fetch the alert whose fingerprint is, or alone begins with, these hex digits."""
    cursor.execute(_SHOW, (fingerprint.replace("%", "").replace("_", "") + "%",))
    rows = cursor.fetchall()
    return rows[0][0] if len(rows) == 1 else None


def count_firing(cursor: Cursor) -> dict[str, int]:
    """How many alerts fire, by kind."""
    cursor.execute(_COUNT)
    return dict(cursor.fetchall())


def list_silences(cursor: Cursor) -> list[Row]:
    """List the silences that last."""
    cursor.execute(_SILENCES)
    return [row[0] for row in cursor.fetchall()]


def parse_period(text: str) -> timedelta:
    """How long `text` is; raises `NoPeriod`."""
    if re.fullmatch(PERIOD, text) is None:
        message = "say how long as 30m, 4h or 2d"
        raise NoPeriod(message)
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def silence(
    cursor: Cursor, *, kind: str | None, subject: str | None, lasting: timedelta, reason: str, actor: str
) -> Row:
    """Announce nothing that this fits until it expires; alerts are raised and resolved in the table as ever."""
    parameters = {"kind": kind, "subject": subject, "lasting": lasting, "reason": reason, "actor": actor}
    cursor.execute(_SILENCE, parameters)
    made = _only(cursor)
    write_audit(cursor, AuditEntry(actor, "alerts.silenced", str(made["id"]), made))
    return made


def end_silence(cursor: Cursor, id_: int, *, actor: str) -> Row | None:
    """End a silence before its time; None where it does not last any more."""
    cursor.execute(_END_SILENCE, (id_,))
    row = cursor.fetchone()
    if row is None:
        return None
    write_audit(cursor, AuditEntry(actor, "alerts.silence_ended", str(id_), row[0]))
    return dict(row[0])


def acknowledge(cursor: Cursor, fingerprint: str, *, actor: str) -> Row | None:
    """Stop the heartbeats of a firing alert until it fires anew; None where it does not fire."""
    cursor.execute(_ACKNOWLEDGE, (actor, fingerprint))
    row = cursor.fetchone()
    if row is None:
        return None
    told = {"kind": row[0]["kind"], "subject": row[0]["subject"]}
    write_audit(cursor, AuditEntry(actor, "alerts.acknowledged", fingerprint, told))
    return dict(row[0])


def _only(cursor: Cursor) -> Row:
    ((row,),) = cursor.fetchall()
    return dict(row)
