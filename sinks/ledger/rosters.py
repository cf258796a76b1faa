"""Records rosters: what a finished tournament's results must add up to. They decide no reward."""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor

from schemas.events import TournamentRoster
from sinks.batch import Coordinates, Delivery

# Order is `finalized_at`, equal times by offset; an earlier roster is stale, an equal one a duplicate. A tournament that
# was distributed already stays so until reconciliation says otherwise.
RECORD_ROSTER = """
INSERT INTO tournament_rosters AS roster
    (tournament_id, participants, user_ids, finalized_at, log_id, partition, "offset")
VALUES (%(tournament_id)s, %(participants)s, %(user_ids)s::bigint[], %(finalized_at)s, %(log_id)s, %(partition)s,
    %(offset)s)
ON CONFLICT (tournament_id) DO UPDATE
SET participants = EXCLUDED.participants, user_ids = EXCLUDED.user_ids, finalized_at = EXCLUDED.finalized_at,
    log_id = EXCLUDED.log_id, partition = EXCLUDED.partition, "offset" = EXCLUDED."offset", recorded_at = now()
WHERE (EXCLUDED.finalized_at, EXCLUDED."offset") > (roster.finalized_at, roster."offset")
  AND (EXCLUDED.participants, EXCLUDED.user_ids, EXCLUDED.finalized_at)
      IS DISTINCT FROM (roster.participants, roster.user_ids, roster.finalized_at)
"""

FETCH_FINALIZED_AT = "SELECT finalized_at FROM tournament_rosters WHERE tournament_id = %s"

EXPECT_PARTICIPANTS = """
UPDATE semesters
SET expected_participants = %(participants)s,
    tournament_status = CASE WHEN tournament_status = 'REWARDS_DISTRIBUTED' THEN tournament_status ELSE 'COMPLETED' END
WHERE id = %(tournament_id)s
"""


def record_rosters(cursor: Cursor, rosters: Sequence[tuple[Delivery, TournamentRoster]]) -> tuple[int, int, int]:
    """Record the rosters, tournaments ascending; how many were recorded, duplicates, and stale."""
    recorded = duplicates = stale = 0
    # A stable sort: one tournament's rosters stay in the order they came.
    for delivery, roster in sorted(rosters, key=lambda pair: pair[1].tournament_id):
        where = delivery.coordinates or Coordinates("", 0, 0, "")
        values = {
            "tournament_id": roster.tournament_id,
            "participants": roster.participants,
            "user_ids": None if roster.user_ids is None else list(roster.user_ids),
            "finalized_at": roster.finalized_at,
            "log_id": where.log_id,
            "partition": where.partition,
            "offset": where.offset,
        }
        cursor.execute(RECORD_ROSTER, values)
        if cursor.rowcount:
            recorded += 1
            cursor.execute(EXPECT_PARTICIPANTS, values)
            continue
        cursor.execute(FETCH_FINALIZED_AT, (roster.tournament_id,))
        (known,) = cursor.fetchone() or (None,)
        if known is not None and known > roster.finalized_at:
            stale += 1
        else:
            duplicates += 1
    return recorded, duplicates, stale
