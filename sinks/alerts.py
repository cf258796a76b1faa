"""Alerts: raised and resolved within the caller's transaction, announced on `reward-alerts` through the outbox.

An alert fires once. Being seen again moves `last_seen` and the count; it is announced again only when it fires anew,
when its severity changes, or as a heartbeat. Rows are locked in the order of their fingerprints.

Flapping: an alert that came back `FLAPS_TO_DAMP` times within `FLAP_WINDOW` of its resolution resolves only after it
has held for that long. Storm: of one kind, at most `STORM_LIMIT` new alerts are announced within `STORM_WINDOW`; the
others are in the table only, and one alert with the subject `STORM_SUBJECT` says that there are more, until fewer fire.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw
from psycopg2.extensions import cursor as Cursor

from schemas.alerts import ALERT_KINDS, AlertSeen, fingerprint
from schemas.cloudevents import MESSAGE_TYPES
from schemas.events import REWARD_ALERTS
from schemas.messages import Alert
from sinks.outbox import OutboxMessage, write_messages

HEARTBEAT: Final = timedelta(hours=4)
FLAP_WINDOW: Final = timedelta(minutes=10)
FLAPS_TO_DAMP: Final = 3
STORM_LIMIT: Final = 100
STORM_WINDOW: Final = timedelta(minutes=1)
STORM_SUBJECT: Final = "many at once"

_SILENCED = """
EXISTS (SELECT FROM alert_silences s
         WHERE s.expires_at > now()
           AND coalesce(s.kind, a.kind) = a.kind AND coalesce(s.subject, a.subject) = a.subject)
"""

_COLUMNS: Final = (
    "fingerprint", "kind", "subject", "severity", "status", "labels", "annotations", "count", "first_seen",
    "last_seen", "resolved_at",
)  # fmt: skip
_ROW: Final = ", ".join(f"a.{column}" for column in _COLUMNS)

# `notified_at` becomes null where the alert has something new to say; only then, or as a heartbeat, it is announced.
_RAISE = f"""
INSERT INTO reward_alerts AS a (fingerprint, kind, subject, severity, status, labels, annotations, count)
SELECT fingerprint, kind, subject, severity, 'firing', labels::jsonb, annotations::jsonb, count
  FROM unnest(%(fingerprints)s, %(kinds)s, %(subjects)s, %(severities)s, %(labels)s, %(annotations)s, %(counts)s)
       AS seen (fingerprint, kind, subject, severity, labels, annotations, count)
 ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    severity = excluded.severity,
    status = 'firing',
    labels = excluded.labels,
    annotations = excluded.annotations,
    count = a.count + excluded.count,
    first_seen = CASE a.status WHEN 'resolved' THEN now() ELSE a.first_seen END,
    last_seen = now(),
    notified_at = CASE WHEN a.status = 'firing' AND a.severity = excluded.severity THEN a.notified_at END,
    resolved_at = NULL,
    flaps = CASE WHEN a.status = 'firing' THEN a.flaps
                 WHEN a.resolved_at > now() - %(flap_window)s THEN a.flaps + 1
                 ELSE 0 END,
    holds_since = NULL,
    acknowledged_by = CASE a.status WHEN 'firing' THEN a.acknowledged_by END
RETURNING {_ROW},
          notified_at IS NULL AS news,
          NOT ({_SILENCED}) AND (
              notified_at IS NULL OR acknowledged_by IS NULL AND notified_at < now() - %(heartbeat)s) AS due
"""

_ROOM_TAKEN = """
SELECT kind,
       CASE WHEN EXISTS (SELECT FROM reward_alerts a WHERE a.fingerprint = storm AND a.status = 'firing')
            THEN %(limit)s
            ELSE (SELECT count(*)
                    FROM (SELECT FROM reward_alerts a
                           WHERE a.kind = wanted.kind AND a.status = 'firing'
                             AND a.first_seen > now() - %(window)s AND a.notified_at IS NOT NULL
                           LIMIT %(limit)s) recent)
       END
  FROM unnest(%(kinds)s, %(storms)s) AS wanted (kind, storm)
"""

_NOTIFIED = "UPDATE reward_alerts SET notified_at = now() WHERE fingerprint = ANY (%(fingerprints)s)"

_RESOLVE = f"""
WITH held AS (
    SELECT fingerprint FROM reward_alerts
     WHERE status = 'firing' AND fingerprint = ANY (%(fingerprints)s)
     ORDER BY fingerprint FOR UPDATE)
UPDATE reward_alerts a
   SET status = CASE WHEN {{now}} THEN 'resolved' ELSE 'firing' END,
       resolved_at = CASE WHEN {{now}} THEN now() END,
       holds_since = CASE WHEN {{now}} THEN NULL ELSE coalesce(holds_since, now()) END
  FROM held
 WHERE a.fingerprint = held.fingerprint
RETURNING {_ROW}, a.notified_at IS NOT NULL AS announced
"""

_RESOLVE_UNLESS_FLAPPING = _RESOLVE.format(now="flaps < %(flaps)s")
_RESOLVE_NOW = _RESOLVE.format(now="true")

_ABSENT = """
SELECT fingerprint FROM reward_alerts
 WHERE status = 'firing' AND kind = ANY (%(kinds)s) AND subject <> %(storm)s
   AND (%(subjects)s::text[] IS NULL OR subject = ANY (%(subjects)s)) AND fingerprint <> ALL (%(still)s)
"""

_SETTLED = """
SELECT fingerprint FROM reward_alerts
 WHERE status = 'firing'
   AND (holds_since < now() - %(flap_window)s
        OR last_seen < now() - (%(quiet)s::jsonb ->> kind)::float * interval '1 second')
"""

_STORMS_OVER = """
SELECT fingerprint FROM reward_alerts storm
 WHERE status = 'firing' AND subject = %(storm)s
   AND (SELECT count(*) FROM (SELECT FROM reward_alerts a
                               WHERE a.kind = storm.kind AND a.status = 'firing' AND a.subject <> storm.subject
                               LIMIT %(limit)s) others) < %(limit)s
"""


class _Raised(NamedTuple):
    alert: Alert
    news: bool
    due: bool


def raise_alerts(cursor: Cursor, seen: Sequence[AlertSeen], *, heartbeat: timedelta = HEARTBEAT) -> int:
    """Raise an alert for everything that was `seen`; how many messages that makes."""
    if not seen:
        return 0
    due = [raised for raised in _upsert(cursor, seen, heartbeat) if raised.due]
    if not due:
        return 0
    announced, kept_quiet = _without_storms(cursor, due)
    _announce(cursor, announced)
    if announced:
        cursor.execute(_NOTIFIED, {"fingerprints": [alert.fingerprint for alert in announced]})
    storms = [_storm(kind, alerts) for kind, alerts in kept_quiet.items()]
    return len(announced) + raise_alerts(cursor, storms, heartbeat=heartbeat)


def resolve_alerts(cursor: Cursor, held: Iterable[tuple[str, str]]) -> int:
    """Resolve what fires of these `(kind, subject)` pairs, since what they say is true again; how many that were."""
    fingerprints = [fingerprint(kind, subject) for kind, subject in held]
    return _resolve(cursor, _RESOLVE_UNLESS_FLAPPING, fingerprints)


def resolve_absent(
    cursor: Cursor,
    kinds: Sequence[str],
    subjects: Sequence[str] | None,
    seen: Sequence[AlertSeen],
) -> int:
    """Resolve the alerts of `kinds` about `subjects` (None: about anything) that a check has not `seen` again."""
    still = [alert.fingerprint for alert in seen]
    parameters = {
        "kinds": list(kinds),
        "subjects": subjects and list(subjects),
        "still": still,
        "storm": STORM_SUBJECT,
    }
    return _resolve(cursor, _RESOLVE_UNLESS_FLAPPING, _fingerprints(cursor, _ABSENT, parameters))


def settle_alerts(cursor: Cursor) -> int:
    """Resolve what only time resolves: flapping that ceased, happenings that did not recur, storms that are over."""
    quiet = {kind.id: kind.quiet_after.total_seconds() for kind in ALERT_KINDS.values() if kind.quiet_after}
    parameters = {
        "flap_window": FLAP_WINDOW,
        "quiet": msgspec.json.encode(quiet).decode(),
    }
    settled = _resolve(cursor, _RESOLVE_NOW, _fingerprints(cursor, _SETTLED, parameters))
    over = _fingerprints(cursor, _STORMS_OVER, {"storm": STORM_SUBJECT, "limit": STORM_LIMIT})
    return settled + _resolve(cursor, _RESOLVE_NOW, over)


def _upsert(cursor: Cursor, seen: Sequence[AlertSeen], heartbeat: timedelta) -> list[_Raised]:
    # The last one seen of each alert speaks for it: ON CONFLICT refuses the same row twice in one statement.
    latest = {alert.fingerprint: alert for alert in seen}
    counts = Counter(alert.fingerprint for alert in seen)
    alerts = list(latest.values())
    cursor.execute(
        _RAISE,
        {
            "fingerprints": list(latest),
            "kinds": [alert.kind for alert in alerts],
            "subjects": [alert.subject for alert in alerts],
            "severities": [alert.severity or ALERT_KINDS[alert.kind].severity for alert in alerts],
            "labels": [_json(alert.labels) for alert in alerts],
            "annotations": [_json(alert.annotations()) for alert in alerts],
            "counts": [counts[print_] for print_ in latest],
            "flap_window": FLAP_WINDOW,
            "heartbeat": heartbeat,
        },
    )
    return [_Raised(_alert(row), row[-2], row[-1]) for row in cursor.fetchall()]


def _without_storms(cursor: Cursor, due: Sequence[_Raised]) -> tuple[list[Alert], dict[str, list[Alert]]]:
    """Tell apart what may be announced from what is too much, per kind."""
    kinds = sorted({raised.alert.kind for raised in due})
    storms = [fingerprint(kind, STORM_SUBJECT) for kind in kinds]
    cursor.execute(
        _ROOM_TAKEN,
        {
            "kinds": kinds,
            "storms": storms,
            "window": STORM_WINDOW,
            "limit": STORM_LIMIT,
        },
    )
    room = {kind: STORM_LIMIT - taken for kind, taken in cursor.fetchall()}
    announced: list[Alert] = []
    quiet: dict[str, list[Alert]] = {}
    for alert, news, _ in due:
        if not news or alert.subject == STORM_SUBJECT:
            announced.append(alert)
        elif room[alert.kind] > 0:
            room[alert.kind] -= 1
            announced.append(alert)
        else:
            quiet.setdefault(alert.kind, []).append(alert)
    return announced, quiet


def _storm(kind: str, alerts: Sequence[Alert]) -> AlertSeen:
    some = ", ".join(alert.subject for alert in alerts[:5])
    return AlertSeen(
        kind=kind,
        subject=STORM_SUBJECT,
        expected=f"at most {STORM_LIMIT} new alerts of a kind in {STORM_WINDOW.total_seconds():.0f} seconds",
        found=f"more; among those not announced one by one are {some}",
    )


def _resolve(cursor: Cursor, statement: str, fingerprints: Sequence[str]) -> int:
    if not fingerprints:
        return 0
    cursor.execute(statement, {"fingerprints": list(fingerprints), "flaps": FLAPS_TO_DAMP})
    resolved = [(_alert(row), row[-1]) for row in cursor.fetchall()]
    resolved = [(alert, announced) for alert, announced in resolved if alert.status == "resolved"]
    # Who was never told that it fires need not hear that it is over.
    _announce(cursor, [alert for alert, announced in resolved if announced])
    return len(resolved)


def _announce(cursor: Cursor, alerts: Sequence[Alert]) -> None:
    write_messages(cursor, [(int(alert.fingerprint[:8], 16), _message(alert)) for alert in alerts])


def _message(alert: Alert) -> OutboxMessage:
    """Make what goes out to `reward-alerts`. Its id is stable: an alert says one thing at one time."""
    at = alert.resolved_at or alert.last_seen
    return OutboxMessage(
        topic=REWARD_ALERTS,
        key=alert.fingerprint,
        id=f"alert:{alert.fingerprint}:{alert.status}:{at.isoformat()}",
        type=MESSAGE_TYPES[Alert],
        time=at,
        value=Raw(msgspec.json.encode(alert)),
    )


def _fingerprints(cursor: Cursor, statement: str, parameters: dict[str, Any]) -> list[str]:
    cursor.execute(statement, parameters)
    return [row[0] for row in cursor.fetchall()]


def _alert(row: tuple[Any, ...]) -> Alert:
    return Alert(**dict(zip(_COLUMNS, row, strict=False)))


def _json(value: dict[str, str]) -> str:
    return msgspec.json.encode(value).decode()
