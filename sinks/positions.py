"""Positions: Postgres's own record of what was read of each partition, and of who may write it.

The row of a partition is its fence. Whoever is assigned the partition takes a new epoch; every batch's first statement
moves the position only where owner, epoch and next offset are still the ones that the batch was read with.
"""

from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from schemas.errors import Fenced, SteppedOver
from sinks.batch import Claim

# Rows are locked in their key's order before any is written, by claims and batches alike: two workers that meet on
# several partitions wait for each other and never in a circle. The conditions stand on `held`, which is the row as it
# is once its lock was ours, and not as it was when the statement began.
ADVANCE = """
WITH wanted AS (
    SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(epochs)s::bigint[], %(from)s::bigint[],
                         %(next)s::bigint[], %(end)s::bigint[])
               AS wanted (topic, partition, epoch, from_offset, next_offset, end_offset)
), held AS MATERIALIZED (
    SELECT topic, partition, owner, epoch, next_offset FROM partition_positions
     WHERE consumer_group = %(group)s AND (topic, partition) IN (SELECT topic, partition FROM wanted)
     ORDER BY topic, partition FOR NO KEY UPDATE
), moved AS (
    UPDATE partition_positions AS position
       SET next_offset = wanted.next_offset, end_offset = greatest(wanted.end_offset, wanted.next_offset),
           updated_at = clock_timestamp()
      FROM wanted JOIN held USING (topic, partition)
     WHERE position.consumer_group = %(group)s
       AND position.topic = wanted.topic AND position.partition = wanted.partition
       AND held.owner = %(owner)s AND held.epoch = wanted.epoch AND held.next_offset = wanted.from_offset
    RETURNING position.topic, position.partition
)
SELECT wanted.topic, wanted.partition, held.owner, held.epoch, held.next_offset
  FROM wanted LEFT JOIN held USING (topic, partition)
 WHERE (wanted.topic, wanted.partition) NOT IN (SELECT topic, partition FROM moved)
 ORDER BY wanted.topic, wanted.partition
"""

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
    cursor.execute(ADVANCE, _columns(group, owner, claims))
    refused = cursor.fetchall()
    if not refused:
        return
    epochs = {(claim.topic, claim.partition): claim for claim in claims}
    for topic, partition, holder, epoch, _next in refused:
        claim = epochs[topic, partition]
        if (holder, epoch) != (owner, claim.epoch):
            message = f"{topic}[{partition}]: epoch {claim.epoch} of {owner} ended; {holder} holds epoch {epoch}"
            raise Fenced(message)
    topic, partition, _holder, _epoch, next_offset = refused[0]
    begins = epochs[topic, partition].from_offset
    raise SteppedOver(f"{topic}[{partition}]: the position is {next_offset}, but what was read begins at {begins}")


def reached(cursor: Cursor, group: str, owner: str, claims: Sequence[Claim]) -> bool:
    """Whether the positions stand exactly at the ends of `claims`: a COMMIT whose answer was lost did commit."""
    cursor.execute(REACHED, _columns(group, owner, claims))
    row: Any = cursor.fetchone()
    return bool(row[0] == len(claims))


def _columns(group: str, owner: str, claims: Sequence[Claim]) -> dict[str, object]:
    return {
        "group": group,
        "owner": owner,
        "topics": [claim.topic for claim in claims],
        "partitions": [claim.partition for claim in claims],
        "epochs": [claim.epoch for claim in claims],
        "from": [claim.from_offset for claim in claims],
        "next": [claim.next_offset for claim in claims],
        "end": [claim.end_offset for claim in claims],
    }
