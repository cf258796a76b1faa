"""Conditions that the tables themselves show, watched for as long as they last: open dead letters, stalled partitions."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from sinks.alerts import raise_alerts, resolve_absent, settle_alerts

STALLED_AFTER: Final = timedelta(minutes=1)

_CONDITIONS_LOCK: Final = 0x1A07E16

_OPEN_DEAD_LETTERS = """
SELECT topic, count(*), array_agg(DISTINCT reason ORDER BY reason)
  FROM dead_letters WHERE status = 'open' GROUP BY topic ORDER BY topic
"""

_STALLED = """
SELECT consumer_group, topic, partition, next_offset, end_offset, owner, updated_at
  FROM partition_positions
 WHERE next_offset < end_offset AND stopped IS NULL AND updated_at < now() - %s
 ORDER BY consumer_group, topic, partition
"""


def check_conditions(cursor: Cursor) -> None:
    """Raise an alert for each condition there is, resolve those that ceased and what only time resolves.

    Within the caller's transaction. Anybody may ask for it at any time: while one does it, others pass.
    """
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_CONDITIONS_LOCK,))
    if cursor.fetchone() != (True,):
        return
    seen = [*_dead_letters(cursor), *_stalled(cursor)]
    raise_alerts(cursor, seen)
    resolve_absent(cursor, ["OPS-02", "OPS-04"], None, seen)
    settle_alerts(cursor)


def _dead_letters(cursor: Cursor) -> Iterator[AlertSeen]:
    cursor.execute(_OPEN_DEAD_LETTERS)
    for topic, count, reasons in cursor.fetchall():
        yield AlertSeen(
            kind="OPS-02",
            subject=topic,
            expected="no open dead letters",
            found=f"{count}, because of {', '.join(reasons)}",
            labels={"topic": topic},
        )


def _stalled(cursor: Cursor) -> Iterator[AlertSeen]:
    cursor.execute(_STALLED, (STALLED_AFTER,))
    for group, topic, partition, next_offset, end_offset, owner, updated_at in cursor.fetchall():
        yield AlertSeen(
            kind="OPS-04",
            subject=f"{topic}/{partition} of {group}",
            expected=f"the position moves on from {next_offset} towards {end_offset}",
            found=f"it has not since {updated_at:%Y-%m-%d %H:%M:%S} UTC; its owner is {owner or 'nobody'}",
            labels={"topic": topic, "partition": str(partition)},
        )
