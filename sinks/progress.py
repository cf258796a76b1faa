"""How far recording has come: positions, and what came of everything since a moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg2.extensions import cursor as Cursor

from sinks.positions import Partition

# A refused command has a receipt as well as a dead letter: it counts as the dead letter that it is.
TALLY: Final = """
SELECT (SELECT count(*) FROM reward_receipts AS receipt
        WHERE recorded_at > %(since)s AND origin = 'event' AND NOT receipt."grant" ? 'refused')
     + (SELECT count(*) FROM tournament_rosters WHERE recorded_at > %(since)s),
       (SELECT count(*) FROM dead_letters WHERE recorded_at > %(since)s)
"""

NEXT_OFFSETS: Final = """
SELECT topic, partition, log_id, next_offset FROM partition_positions WHERE consumer_group = %s
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was recorded in a stretch of time; everything else that was read in it had no effect."""

    recorded: int
    dead_letters: int


def fetch_now(cursor: Cursor) -> datetime:
    """The database's own time, which `recorded_at` is in."""
    cursor.execute("SELECT clock_timestamp()")
    row = cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def fetch_tally(cursor: Cursor, since: datetime) -> Tally:
    """What was recorded after `since`."""
    cursor.execute(TALLY, {"since": since})
    row = cursor.fetchone()
    assert row is not None
    return Tally(*row)


def fetch_next_offsets(cursor: Cursor, group: str) -> dict[Partition, tuple[str, int]]:
    """The log and the next offset to record of every partition the group has a position in."""
    cursor.execute(NEXT_OFFSETS, (group,))
    return {(topic, partition): (log_id, offset) for topic, partition, log_id, offset in cursor.fetchall()}
