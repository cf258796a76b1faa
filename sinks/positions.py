"""Positions: Postgres's own record of what was read of each partition, and of who may write it.

The row of a partition is its fence. Whoever is assigned the partition takes a new epoch; every batch's first statement
moves the position only where owner, epoch and next offset are still the ones that the batch was read with.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from schemas.errors import Fenced, SteppedOver, WrongCluster
from sinks.alerts import raise_alerts
from sinks.batch import Claim
from sinks.prepared import Statement, execute

# Rows are locked in their key's order before any is written, by claims and batches alike: two workers that meet on
# several partitions wait for each other and never in a circle. The conditions stand on `held`, which is the row as it
# is once its lock was ours, and not as it was when the statement began.
ADVANCE = Statement(
    "advance_positions",
    """
WITH wanted AS (
    SELECT * FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
               AS wanted (topic, partition, epoch, from_offset, next_offset, end_offset)
), held AS MATERIALIZED (
    SELECT topic, partition, owner, epoch, next_offset FROM partition_positions
     WHERE consumer_group = $1::text AND (topic, partition) IN (SELECT topic, partition FROM wanted)
     ORDER BY topic, partition FOR NO KEY UPDATE
), moved AS (
    UPDATE partition_positions AS position
       SET next_offset = wanted.next_offset, end_offset = greatest(wanted.end_offset, wanted.next_offset),
           updated_at = clock_timestamp()
      FROM wanted JOIN held USING (topic, partition)
     WHERE position.consumer_group = $1
       AND position.topic = wanted.topic AND position.partition = wanted.partition
       AND held.owner = $2::text AND held.epoch = wanted.epoch AND held.next_offset = wanted.from_offset
    RETURNING position.topic, position.partition
)
SELECT wanted.topic, wanted.partition, held.owner, held.epoch, held.next_offset
  FROM wanted LEFT JOIN held USING (topic, partition)
 WHERE (wanted.topic, wanted.partition) NOT IN (SELECT topic, partition FROM moved)
 ORDER BY wanted.topic, wanted.partition
""",
)

REACHED = """
SELECT count(*)
  FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(epochs)s::bigint[], %(next)s::bigint[])
         AS wanted (topic, partition, epoch, next_offset)
  JOIN partition_positions AS position USING (topic, partition, epoch, next_offset)
 WHERE position.consumer_group = %(group)s AND position.owner = %(owner)s
"""


def advance(cursor: Cursor, group: str, owner: str, claims: Sequence[Claim]) -> None:
    """Move the positions over `claims`, all or none: a batch's first statement, and its fence.

    Raises `Fenced` where another owner or epoch holds a partition, `SteppedOver` where a claim does not begin where the
    position ends. In both cases the caller's transaction must be rolled back: other positions may have moved.
    """
    if not claims:
        return
    columns = zip(
        *((c.topic, c.partition, c.epoch, c.from_offset, c.next_offset, c.end_offset) for c in claims), strict=True
    )
    execute(cursor, (ADVANCE, (group, owner, *map(list, columns))))
    refused = cursor.fetchall()
    if not refused:
        return
    wanted = {(claim.topic, claim.partition): claim for claim in claims}
    for topic, partition, holder, epoch, _next in refused:
        held = wanted[topic, partition].epoch
        if (holder, epoch) != (owner, held):
            message = f"{topic}[{partition}]: epoch {held} of {owner} ended; {holder} holds epoch {epoch}"
            raise Fenced(message, topic=topic, partition=partition)
    topic, partition, _holder, _epoch, next_offset = refused[0]
    begins = wanted[topic, partition].from_offset
    raise SteppedOver(f"{topic}[{partition}]: the position is {next_offset}, but what was read begins at {begins}")


def reached(cursor: Cursor, group: str, owner: str, claims: Sequence[Claim]) -> bool:
    """Whether the positions stand exactly at the ends of `claims`: a COMMIT whose answer was lost did commit."""
    parameters = {
        "group": group,
        "owner": owner,
        "topics": [claim.topic for claim in claims],
        "partitions": [claim.partition for claim in claims],
        "epochs": [claim.epoch for claim in claims],
        "next": [claim.next_offset for claim in claims],
    }
    cursor.execute(REACHED, parameters)
    row: Any = cursor.fetchone()
    return bool(row[0] == len(claims))


@dataclass(frozen=True, slots=True)
class LogState:
    """A partition's log as the broker tells it: which log it is, and the offsets it holds now."""

    log_id: str
    start_offset: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class Position:
    """What a worker was given with a partition: where to read on, in which epoch, and what stands in the way.

    `stopped` says why the partition must not be read until somebody accepts the loss; `unread` is how many offsets of
    a log that was replaced had not been read.
    """

    next_offset: int
    epoch: int
    log_id: str
    end_offset: int
    stopped: str | None = None
    unread: int = 0


Partition = tuple[str, int]

_PARTITIONS = "(SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::int[]))"

# Rows are made first and read under their locks afterwards, so that of two workers that claim a new partition at once
# neither can put the position back that the other has moved.
_CREATE = """
INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)
SELECT %(group)s, topic, partition, log_id, start_offset, end_offset, 0
  FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(log_ids)s::text[], %(starts)s::bigint[],
              %(ends)s::bigint[]) AS log (topic, partition, log_id, start_offset, end_offset)
 ORDER BY topic, partition
ON CONFLICT DO NOTHING
"""

_LOCK = f"""
SELECT topic, partition, log_id, next_offset, end_offset FROM partition_positions
 WHERE consumer_group = %(group)s AND (topic, partition) IN {_PARTITIONS}
 ORDER BY topic, partition FOR NO KEY UPDATE
"""

_TAKE = """
UPDATE partition_positions
   SET log_id = taken.log_id, next_offset = taken.next_offset, end_offset = taken.end_offset, owner = %(owner)s,
       generation = %(generation)s, stopped = taken.stopped, epoch = nextval('partition_epochs'),
       updated_at = clock_timestamp()
  FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(log_ids)s::text[], %(nexts)s::bigint[], %(ends)s::bigint[],
              %(stops)s::text[]) AS taken (topic, partition, log_id, next_offset, end_offset, stopped)
 WHERE consumer_group = %(group)s
   AND partition_positions.topic = taken.topic AND partition_positions.partition = taken.partition
RETURNING taken.topic, taken.partition, epoch
"""

_RELEASE = """
WITH held AS (
    SELECT topic, partition FROM partition_positions WHERE consumer_group = %(group)s AND owner = %(owner)s
     ORDER BY topic, partition FOR NO KEY UPDATE
)
UPDATE partition_positions AS position SET owner = NULL FROM held
 WHERE consumer_group = %(group)s AND position.topic = held.topic AND position.partition = held.partition
"""

_CLUSTERS = "SELECT DISTINCT split_part(log_id, '/', 1) FROM partition_positions WHERE consumer_group = %s"

# No timeout of the server's reaches a client that was put to sleep in the middle of a COPY: until it sends more, its
# session does not look at them. Being terminated is the one thing such a session listens to. Whoever locked a row last
# stands in its xmax.
_CUT_OFF = f"""
SELECT pg_terminate_backend(session.pid), session.application_name
  FROM (SELECT DISTINCT locks.pid
          FROM partition_positions JOIN pg_locks AS locks
            ON locks.locktype = 'transactionid' AND locks.granted AND locks.transactionid = partition_positions.xmax
         WHERE consumer_group = %(group)s AND (topic, partition) IN {_PARTITIONS}) AS holder
  JOIN pg_stat_activity AS session USING (pid)
 WHERE session.pid <> pg_backend_pid() AND session.xact_start < now() - %(seconds)s * interval '1 second'
"""

_STOPPED = "SELECT topic, partition FROM partition_positions WHERE consumer_group = %s AND stopped IS NOT NULL"


def claim(
    cursor: Cursor, group: str, owner: str, generation: int, logs: Mapping[Partition, LogState]
) -> dict[Partition, Position]:
    """Take the partitions over: a new epoch each, and where to read on. Waits for the batch that is in flight there.

    A new log of the same cluster is read from its start. Raises `WrongCluster` where the position is another cluster's.
    A log that no longer holds what comes next stops its partition. Both losses raise an alert in this transaction.
    """
    if not logs:
        return {}
    parameters = _log_columns(group, logs)
    cursor.execute(_CREATE, parameters)
    cursor.execute(_LOCK, parameters)
    taken = {
        (topic, partition): _take_over(topic, partition, held, logs[topic, partition])
        for topic, partition, *held in cursor.fetchall()
    }
    cursor.execute(
        _TAKE,
        {
            "group": group,
            "owner": owner,
            "generation": generation,
            "topics": [topic for topic, _ in taken],
            "partitions": [partition for _, partition in taken],
            "log_ids": [position.log_id for position in taken.values()],
            "nexts": [position.next_offset for position in taken.values()],
            "ends": [position.end_offset for position in taken.values()],
            "stops": [position.stopped for position in taken.values()],
        },
    )
    epochs = {(topic, partition): epoch for topic, partition, epoch in cursor.fetchall()}
    raise_alerts(cursor, [loss for where, position in taken.items() for loss in _losses(where, position)])
    return {where: replace(position, epoch=epochs[where]) for where, position in taken.items()}


def cut_off(cursor: Cursor, group: str, partitions: Collection[Partition], seconds: float) -> int:
    """Terminate the sessions that have held these positions for longer than `seconds`; how many there were.

    What they were writing is rolled back, and read again by whoever claims the partitions.
    """
    parameters = {
        "group": group,
        "topics": [topic for topic, _ in partitions],
        "partitions": [partition for _, partition in partitions],
        "seconds": seconds,
    }
    cursor.execute(_CUT_OFF, parameters)
    return len(cursor.fetchall())


def release(cursor: Cursor, group: str, owner: str) -> None:
    """Give up what `owner` holds: whoever looks sees partitions without an owner, and a late write is fenced."""
    cursor.execute(_RELEASE, {"group": group, "owner": owner})


def refuse_other_cluster(cursor: Cursor, group: str, cluster_id: str) -> None:
    """Raise `WrongCluster` if a position of `group` was read on another cluster than `cluster_id`."""
    cursor.execute(_CLUSTERS, (group,))
    for (known,) in cursor.fetchall():
        if known != cluster_id:
            raise WrongCluster(_other_cluster(known, cluster_id))


def _take_over(topic: str, partition: int, held: Sequence[Any], log: LogState) -> Position:
    log_id, next_offset, end_offset = held
    if log_id != log.log_id:
        known, found = (identity.split("/")[0] for identity in (log_id, log.log_id))
        if known != found:
            raise WrongCluster(f"{topic}[{partition}]: {_other_cluster(known, found)}")
        return Position(log.start_offset, 0, log.log_id, log.end_offset, unread=max(end_offset - next_offset, 0))
    stopped = None
    if next_offset < log.start_offset:
        stopped = f"offsets {next_offset} to {log.start_offset - 1} are gone unread: the log begins after them"
    elif next_offset > log.end_offset:
        stopped = f"offsets {log.end_offset} to {next_offset - 1} were read, but the log ends before them"
    return Position(next_offset, 0, log_id, log.end_offset, stopped)


def _other_cluster(known: str, found: str) -> str:
    return (
        f"the positions were read on cluster {known}, and this is cluster {found}; "
        "if the move is meant, say so with `laurels positions adopt`"
    )


def _losses(where: Partition, position: Position) -> Iterator[AlertSeen]:
    topic, partition = where
    labels = {"topic": topic, "partition": str(partition)}
    subject = f"{topic}/{partition}"
    if position.unread:
        yield AlertSeen(
            kind="OPS-07",
            subject=subject,
            expected="every record of the old log was read before it was deleted",
            found=f"{position.unread} offsets of it were never read; the new log {position.log_id} is read from its start",
            labels=labels,
        )
    if position.stopped:
        yield AlertSeen(
            kind="OPS-08",
            subject=subject,
            expected=f"the log holds offset {position.next_offset}",
            found=f"{position.stopped}; accept that with `laurels positions skip {topic} {partition}`",
            labels=labels,
        )


def _log_columns(group: str, logs: Mapping[Partition, LogState]) -> dict[str, object]:
    return {
        "group": group,
        "topics": [topic for topic, _ in logs],
        "partitions": [partition for _, partition in logs],
        "log_ids": [log.log_id for log in logs.values()],
        "starts": [log.start_offset for log in logs.values()],
        "ends": [log.end_offset for log in logs.values()],
    }


def stopped(cursor: Cursor, group: str) -> set[Partition]:
    """The partitions of `group` that are not to be read until somebody accepts what is missing there."""
    cursor.execute(_STOPPED, (group,))
    return {(topic, partition) for topic, partition in cursor.fetchall()}
