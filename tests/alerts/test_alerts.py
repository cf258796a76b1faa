"""Alerts fire once, repeat as heartbeats, resolve, and never flood."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.alerts import ALERT_KINDS, AlertSeen
from schemas.messages import Alert
from sinks import outbox
from sinks.alerts import (
    STORM_LIMIT,
    STORM_SUBJECT,
    raise_alerts,
    resolve_absent,
    resolve_alerts,
    settle_alerts,
)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    connection = psycopg2.connect(database_url)
    yield connection
    connection.close()


@pytest.fixture
def cursor(connection: Connection) -> Iterator[Cursor]:
    with connection.cursor() as cursor:
        yield cursor


def broken(
    user_id: int = 5,
    kind: str = "INV-R01",
    *,
    found: str = "7",
    severity: str | None = None,
) -> AlertSeen:
    return AlertSeen(
        kind=kind,
        subject=f"user {user_id}",
        expected="10",
        found=found,
        labels={"user_id": str(user_id)},
        severity=severity,  # type: ignore[arg-type]
    )


def announced(cursor: Cursor) -> list[Alert]:
    """What the outbox holds, which is emptied. Commits, so that time moves on."""
    rows = outbox.take(cursor, range(outbox.LANES), 1_000_000)
    outbox.delete(cursor, [row.id for row in rows])
    cursor.connection.commit()
    return [msgspec.json.decode(message.value, type=Alert) for row in rows for message in row.messages]


def later(cursor: Cursor, by: timedelta) -> None:
    """Let time pass for every alert."""
    cursor.execute(
        """UPDATE reward_alerts SET first_seen = first_seen - %(by)s, last_seen = last_seen - %(by)s,
           notified_at = notified_at - %(by)s, resolved_at = resolved_at - %(by)s, holds_since = holds_since - %(by)s""",
        {"by": by},
    )
    cursor.connection.commit()


def flap(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken()])
    cursor.connection.commit()
    resolve_alerts(cursor, [("INV-R01", "user 5")])
    cursor.connection.commit()


def test_an_alert_fires_once_however_often_it_is_seen(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken(), broken(found="8")])
    cursor.connection.commit()
    raise_alerts(cursor, [broken(found="9")])
    (alert,) = announced(cursor)
    assert (alert.status, alert.severity, alert.count) == ("firing", "critical", 2)
    assert alert.annotations["found"] == "8"
    assert alert.annotations["explain"] == "laurels explain user 5"
    cursor.execute("SELECT count, annotations ->> 'found', last_seen > first_seen FROM reward_alerts")
    assert cursor.fetchall() == [(3, "9", True)]


def test_an_alert_that_goes_on_is_repeated_as_a_heartbeat(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken()])
    announced(cursor)
    later(cursor, timedelta(hours=3, minutes=59))
    assert raise_alerts(cursor, [broken()]) == 0
    later(cursor, timedelta(minutes=2))
    assert raise_alerts(cursor, [broken()]) == 1
    assert [alert.count for alert in announced(cursor)] == [3]


def test_an_acknowledged_alert_has_no_heartbeat_until_it_fires_anew(
    cursor: Cursor,
) -> None:
    raise_alerts(cursor, [broken()])
    cursor.execute("UPDATE reward_alerts SET acknowledged_by = 'somebody'")
    later(cursor, timedelta(days=1))
    assert raise_alerts(cursor, [broken()]) == 0
    cursor.connection.commit()
    resolve_alerts(cursor, [("INV-R01", "user 5")])
    assert raise_alerts(cursor, [broken()]) == 1


def test_an_alert_resolves_once_and_says_so(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken(), broken(6)])
    announced(cursor)
    assert resolve_alerts(cursor, [("INV-R01", "user 5"), ("INV-R02", "user 5")]) == 1
    assert resolve_alerts(cursor, [("INV-R01", "user 5")]) == 0
    (alert,) = announced(cursor)
    assert (alert.status, alert.subject) == ("resolved", "user 5")
    assert alert.resolved_at is not None


def test_an_alert_that_fires_again_is_announced_again_with_another_message_id(
    cursor: Cursor,
) -> None:
    flap(cursor)
    raise_alerts(cursor, [broken()])
    rows = outbox.take(cursor, range(outbox.LANES), 100)
    messages = [message for row in rows for message in row.messages]
    assert [msgspec.json.decode(message.value)["status"] for message in messages] == [
        "firing",
        "resolved",
        "firing",
    ]
    assert len({message.id for message in messages}) == 3
    assert len({message.key for message in messages}) == 1


def test_a_worse_severity_is_announced(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken(kind="INV-R04")])
    raise_alerts(cursor, [broken(kind="INV-R04", severity="critical")])
    assert [alert.severity for alert in announced(cursor)] == ["warning", "critical"]


def test_what_a_check_does_not_see_again_is_resolved(cursor: Cursor) -> None:
    raise_alerts(cursor, [broken(5), broken(6), broken(7), broken(5, "INV-R02")])
    announced(cursor)
    assert resolve_absent(cursor, ["INV-R01"], ["user 5", "user 6"], [broken(6)]) == 1
    assert [alert.subject for alert in announced(cursor)] == ["user 5"]
    assert resolve_absent(cursor, ["INV-R01", "INV-R02"], [], []) == 0
    assert resolve_absent(cursor, ["INV-R01", "INV-R02"], None, []) == 3


@pytest.mark.parametrize(
    ("kind", "subject", "silent"),
    [
        ("INV-R01", "user 5", True),
        ("INV-R01", None, True),
        (None, "user 5", True),
        (None, "user 6", False),
    ],
)
def test_a_silenced_alert_is_kept_and_not_announced_until_the_silence_expires(
    cursor: Cursor, kind: str | None, subject: str | None, *, silent: bool
) -> None:
    cursor.execute(
        """INSERT INTO alert_silences (kind, subject, reason, created_by, expires_at)
           VALUES (%s, %s, 'known', 'somebody', now() + interval '1 hour')""",
        (kind, subject),
    )
    assert raise_alerts(cursor, [broken()]) == (not silent)
    announced(cursor)
    cursor.execute(
        "UPDATE alert_silences SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 second'"
    )
    assert raise_alerts(cursor, [broken()]) == silent


def test_who_was_never_told_that_it_fires_is_not_told_that_it_is_over(
    cursor: Cursor,
) -> None:
    cursor.execute(
        """INSERT INTO alert_silences (reason, created_by, expires_at)
           VALUES ('known', 'somebody', now() + interval '1 hour')"""
    )
    raise_alerts(cursor, [broken()])
    assert resolve_alerts(cursor, [("INV-R01", "user 5")]) == 1
    assert announced(cursor) == []


def test_a_flapping_alert_stays_until_it_has_held_for_a_while(cursor: Cursor) -> None:
    for _ in range(4):
        flap(cursor)
    assert [alert.status for alert in announced(cursor)] == [
        "firing",
        "resolved",
    ] * 3 + ["firing"]
    flap(cursor)
    assert announced(cursor) == []
    assert settle_alerts(cursor) == 0
    later(cursor, timedelta(minutes=11))
    assert settle_alerts(cursor) == 1
    assert [alert.status for alert in announced(cursor)] == ["resolved"]


def test_an_alert_about_something_that_happened_resolves_when_it_does_not_recur(
    cursor: Cursor,
) -> None:
    raise_alerts(cursor, [broken(kind="OPS-01"), broken()])
    announced(cursor)
    later(cursor, timedelta(hours=23))
    assert settle_alerts(cursor) == 0
    later(cursor, timedelta(hours=2))
    assert settle_alerts(cursor) == 1
    assert [(alert.kind, alert.status) for alert in announced(cursor)] == [("OPS-01", "resolved")]


def test_a_storm_is_one_alert_and_not_one_for_every_user(cursor: Cursor) -> None:
    storm = [broken(user) for user in range(1, 3 * STORM_LIMIT + 1)]
    raise_alerts(cursor, storm[: STORM_LIMIT // 2])
    cursor.connection.commit()
    raise_alerts(cursor, [*storm, broken(1, "INV-R02")])
    subjects = [(alert.kind, alert.subject) for alert in announced(cursor)]
    assert len(subjects) == STORM_LIMIT + 2
    assert ("INV-R01", STORM_SUBJECT) in subjects
    assert ("INV-R02", "user 1") in subjects
    later(cursor, timedelta(minutes=5))
    assert raise_alerts(cursor, storm) == 0
    cursor.execute("SELECT count(*) FROM reward_alerts WHERE status = 'firing'")
    assert cursor.fetchone() == (len(storm) + 2,)


def test_a_storm_is_over_when_few_still_fire(cursor: Cursor) -> None:
    storm = [broken(user) for user in range(1, STORM_LIMIT + 11)]
    raise_alerts(cursor, storm)
    announced(cursor)
    assert settle_alerts(cursor) == 0
    resolve_absent(cursor, ["INV-R01"], None, storm[:20])
    announced(cursor)
    assert settle_alerts(cursor) == 1
    assert [(alert.subject, alert.status) for alert in announced(cursor)] == [(STORM_SUBJECT, "resolved")]


def test_two_who_raise_the_same_alerts_at_once_do_not_deadlock(cursor: Cursor, database_url: str) -> None:
    seen = [broken(user) for user in range(20)]
    raise_alerts(cursor, seen)
    cursor.connection.commit()
    raise_alerts(cursor, seen)
    with psycopg2.connect(database_url) as other, other.cursor() as waiting:
        waiting.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            raise_alerts(waiting, seen[::-1])
        other.rollback()
        # It waited for the lowest fingerprint, so it held none of the others.
        cursor.execute("SET lock_timeout = '50ms'")
        raise_alerts(cursor, seen[::-1])


def test_every_kind_explains_itself() -> None:
    assert all(kind.sentence.endswith(".") for kind in ALERT_KINDS.values())
