"""Positions moved by a person's decision, each written to the audit log: another cluster adopted, a loss accepted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from schemas.errors import LaurelsError
from sinks.alerts import raise_alerts, resolve_alerts
from sinks.audit import AuditEntry, write_audit
from sinks.positions import LogState, Partition

LIST = """
SELECT consumer_group, topic, partition, log_id, next_offset, end_offset, greatest(end_offset - next_offset, 0),
       epoch, owner, generation, stopped, updated_at
  FROM partition_positions
 WHERE (%(group)s::text IS NULL OR consumer_group = %(group)s) AND (%(topic)s::text IS NULL OR topic = %(topic)s)
 ORDER BY consumer_group, topic, partition
"""

LOCK_GROUP = """
SELECT topic, partition, log_id, next_offset, end_offset FROM partition_positions
 WHERE consumer_group = %s ORDER BY topic, partition FOR NO KEY UPDATE
"""

LOCK_ONE = """
SELECT log_id, next_offset, stopped FROM partition_positions
 WHERE consumer_group = %s AND topic = %s AND partition = %s FOR NO KEY UPDATE
"""

# Without an owner: whoever still holds the partition is fenced.
MOVE = """
UPDATE partition_positions
   SET log_id = %(log_id)s, next_offset = %(next_offset)s, end_offset = %(end_offset)s, stopped = NULL, owner = NULL,
       updated_at = clock_timestamp()
 WHERE consumer_group = %(group)s AND topic = %(topic)s AND partition = %(partition)s
"""

FORGET = "DELETE FROM partition_positions WHERE consumer_group = %s AND topic = %s AND partition = %s"


@dataclass(frozen=True, slots=True)
class ListedPosition:
    """Where recording stands in one partition; `lag` is what was left to read when it was last written."""

    group: str
    topic: str
    partition: int
    log_id: str
    next_offset: int
    end_offset: int
    lag: int
    epoch: int
    owner: str | None
    generation: int | None
    stopped: str | None
    updated_at: datetime


class Adopted(NamedTuple):
    """What adopting did with one position: how many offsets of the old log were never read."""

    topic: str
    partition: int
    old_log_id: str
    new_log_id: str | None
    unread: int


class Skipped(NamedTuple):
    """Where a stopped partition goes on."""

    topic: str
    partition: int
    from_offset: int
    to_offset: int


def list_positions(cursor: Cursor, group: str | None, topic: str | None) -> list[ListedPosition]:
    """All positions, or those of one group or topic."""
    cursor.execute(LIST, {"group": group, "topic": topic})
    return [ListedPosition(*row) for row in cursor.fetchall()]


def adopt(cursor: Cursor, group: str, cluster_id: str, logs: Mapping[Partition, LogState], actor: str) -> list[Adopted]:
    """Make the positions that were read on other clusters positions of `cluster_id`, at the start of its logs.

    A position whose partition does not exist there is forgotten. What was never read of an old log raises an alert. `logs`
    were asked for before this transaction: of a topic that came meanwhile it is not known what exists, so nothing is moved.
    """
    cursor.execute(LOCK_GROUP, (group,))
    foreign = [row for row in cursor.fetchall() if row[2].split("/")[0] != cluster_id]
    unasked = {row[0] for row in foreign} - {topic for topic, _ in logs}
    if unasked:
        message = (
            f"group {group} began to read {', '.join(sorted(unasked))} while Kafka was asked for the other topics' logs: "
            "nothing is moved; stop the workers and adopt again"
        )
        raise LaurelsError(message)
    adopted = []
    for topic, partition, log_id, next_offset, end_offset in foreign:
        log = logs.get((topic, partition))
        if log is None:
            cursor.execute(FORGET, (group, topic, partition))
        else:
            _move(cursor, group, (topic, partition), log, log.start_offset)
        new_log_id = None if log is None else log.log_id
        adopted.append(Adopted(topic, partition, log_id, new_log_id, max(end_offset - next_offset, 0)))
        write_audit(cursor, AuditEntry(actor, "positions adopt", f"{topic}/{partition}", adopted[-1]._asdict()))
    raise_alerts(cursor, [_unread(position) for position in adopted if position.unread])
    return adopted


def skip(cursor: Cursor, group: str, where: Partition, log: LogState, actor: str) -> Skipped:
    """Accept what is missing of a stopped partition, and let it be read on where its log goes on."""
    topic, partition = where
    cursor.execute(LOCK_ONE, (group, topic, partition))
    row: Any = cursor.fetchone()
    if row is None or row[2] is None:
        message = f"{topic}[{partition}] of group {group} is not stopped: there is nothing to accept"
        raise LaurelsError(message)
    log_id, next_offset, stopped = row
    if log.log_id != log_id:
        message = f"{topic}[{partition}] is another log by now ({log.log_id}): a worker will read it from its start"
        raise LaurelsError(message)
    goes_on = min(max(next_offset, log.start_offset), log.end_offset)
    _move(cursor, group, where, log, goes_on)
    skipped = Skipped(topic, partition, next_offset, goes_on)
    told = {**skipped._asdict(), "stopped": stopped}
    write_audit(cursor, AuditEntry(actor, "positions skip", f"{topic}/{partition}", told))
    resolve_alerts(cursor, [("OPS-08", f"{topic}/{partition}")])
    return skipped


def _move(cursor: Cursor, group: str, where: Partition, log: LogState, next_offset: int) -> None:
    cursor.execute(
        MOVE,
        {
            "group": group,
            "topic": where[0],
            "partition": where[1],
            "log_id": log.log_id,
            "next_offset": next_offset,
            "end_offset": log.end_offset,
        },
    )


def _unread(position: Adopted) -> AlertSeen:
    return AlertSeen(
        kind="OPS-07",
        subject=f"{position.topic}/{position.partition}",
        expected="every record of the old cluster's log was read before the move",
        found=f"{position.unread} offsets of {position.old_log_id} were never read",
        labels={"topic": position.topic, "partition": str(position.partition)},
    )
