"""What a sweep needs besides the invariants: ranges of users, alerts about them, and how far it came."""

from collections.abc import Collection
from typing import Final

from psycopg2.extensions import cursor as Cursor

from sinks.schedule import ask_for_run

SCHEDULED: Final = "sweep"
"""The task of sweeping now and then."""
BY_HAND: Final = "laurels reconcile"
"""Whoever sweeps on the command line."""

_RANGE_END: Final = """
SELECT max(id), count(*) FROM (SELECT id FROM users WHERE id > %s ORDER BY id LIMIT %s) AS chunk
"""

# Held under a name of its own: a scheduled run forgets its outcome as soon as the next one begins. A sweep that is asked
# for again meanwhile leaves none, so that the next one begins anew whatever becomes of this one.
_SAVE: Final = """
INSERT INTO scheduled_runs AS run (task, started_by, outcome)
SELECT 'checkpoint of ' || %(sweeper)s, %(sweeper)s, jsonb_build_object('after', %(after)s, 'invariants', %(wanted)s)
 WHERE NOT EXISTS (SELECT FROM scheduled_runs WHERE task = %(sweeper)s AND started_at = 'epoch')
ON CONFLICT ON CONSTRAINT pk_scheduled_runs DO UPDATE SET outcome = EXCLUDED.outcome, started_at = now()
"""

_FETCH: Final = """
SELECT (outcome ->> 'after')::bigint FROM scheduled_runs
 WHERE task = 'checkpoint of ' || %(sweeper)s AND outcome -> 'invariants' = to_jsonb(%(wanted)s)
   AND started_at > now() - interval '1 hour'
"""

_FORGET: Final = "UPDATE scheduled_runs SET outcome = NULL WHERE task = 'checkpoint of ' || %s"

_COUNT: Final = "SELECT count(*) FROM users WHERE id > %s"


def fetch_positions(cursor: Cursor) -> dict[tuple[str, str, int, str], int]:
    """The next offset by group, topic, partition and log."""
    cursor.execute("SELECT consumer_group, topic, partition, log_id, next_offset FROM partition_positions")
    return {tuple(where): offset for *where, offset in cursor.fetchall()}


def range_end(cursor: Cursor, after: int, size: int) -> tuple[int, int] | None:
    """The last id of the next `size` users after `after`, and how many they are; None where there are none."""
    cursor.execute(_RANGE_END, (after, size))
    last, users = cursor.fetchone() or (None, 0)
    return None if last is None else (last, users)


def count_users(cursor: Cursor, after: int) -> int:
    """How many users there are after the id."""
    cursor.execute(_COUNT, (after,))
    ((count,),) = cursor.fetchall()
    return int(count)


def save_checkpoint(cursor: Cursor, sweeper: str, wanted: Collection[str], after: int) -> None:
    """Remember that everybody up to the id `after` is swept; 0 where the sweep is over."""
    cursor.execute(_SAVE, {"sweeper": sweeper, "wanted": sorted(wanted), "after": after})


def fetch_checkpoint(cursor: Cursor, sweeper: str, wanted: Collection[str]) -> int:
    """Where a sweep for the same invariants stopped within the last hour; 0 where it is to begin with the first user."""
    cursor.execute(_FETCH, {"sweeper": sweeper, "wanted": sorted(wanted)})
    row = cursor.fetchone()
    return 0 if row is None else int(row[0] or 0)


def ask_for_sweep(cursor: Cursor) -> None:
    """Have everybody swept as soon as somebody can, from the first user on; asked for within the caller's transaction."""
    ask_for_run(cursor, SCHEDULED)
    cursor.execute(_FORGET, (SCHEDULED,))
