"""Records rosters: what a finished tournament's results must add up to. They decide no reward.

A tournament's roster only ever gives way to a later one. So what a plain read knows to be settled stays so and takes
neither a lock nor a statement of its own: most of what a redelivery or a replay brings.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.events import TournamentRoster
from sinks.batch import Coordinates, Delivery

NOWHERE = Coordinates("", 0, 0, "")
"""Where a roster stands that never was on a topic."""

FETCH_ROSTERS = """
SELECT tournament_id, finalized_at, "offset", participants, user_ids FROM tournament_rosters
WHERE tournament_id = ANY(%s)
"""

# As `KeptRoster.gives_way_to` has it, under the row's lock. A tournament that was distributed already stays so until
# reconciliation says otherwise.
RECORD_ROSTER = """
WITH recorded AS (
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
    RETURNING tournament_id, participants
)
UPDATE semesters
SET expected_participants = recorded.participants,
    tournament_status = CASE WHEN tournament_status = 'REWARDS_DISTRIBUTED' THEN tournament_status ELSE 'COMPLETED' END
FROM recorded WHERE semesters.id = recorded.tournament_id
"""


class KeptRoster(NamedTuple):
    """A roster as it stands, and where it came from."""

    finalized_at: datetime
    offset: int
    participants: int
    user_ids: tuple[int, ...] | None

    def gives_way_to(self, said: "KeptRoster") -> bool:
        """Whether `said` is later, by its offset where times are equal, and says anything else."""
        return said[:2] > self[:2] and said._replace(offset=self.offset) != self


def as_kept(delivery: Delivery, roster: TournamentRoster) -> KeptRoster:
    """The roster as it would stand."""
    where = delivery.coordinates or NOWHERE
    return KeptRoster(roster.finalized_at, where.offset, roster.participants, roster.user_ids)


def fetch_rosters(cursor: Cursor, tournament_ids: Collection[int]) -> dict[int, KeptRoster]:
    """The rosters of those of the tournaments that have one."""
    if not tournament_ids:
        return {}
    cursor.execute(FETCH_ROSTERS, (list(tournament_ids),))
    return {
        id_: KeptRoster(finalized_at, offset, participants, None if user_ids is None else tuple(user_ids))
        for id_, finalized_at, offset, participants, user_ids in cursor.fetchall()
    }


def record_rosters(cursor: Cursor, rosters: Sequence[tuple[Delivery, TournamentRoster]]) -> tuple[int, int, int]:
    """Record the rosters, tournaments ascending; how many were recorded, duplicates, and stale."""
    recorded = duplicates = stale = 0
    kept = fetch_rosters(cursor, {roster.tournament_id for _, roster in rosters})
    # A stable sort: one tournament's rosters stay in the order they came.
    for delivery, roster in sorted(rosters, key=lambda pair: pair[1].tournament_id):
        id_, said = roster.tournament_id, as_kept(delivery, roster)
        if id_ not in kept or kept[id_].gives_way_to(said):
            if _record(cursor, delivery, roster):
                recorded += 1
                kept[id_] = said
                continue
            # Somebody else has recorded another one meanwhile.
            kept |= fetch_rosters(cursor, {id_})
        if kept[id_].finalized_at > said.finalized_at:
            stale += 1
        else:
            duplicates += 1
    return recorded, duplicates, stale


def _record(cursor: Cursor, delivery: Delivery, roster: TournamentRoster) -> bool:
    where = delivery.coordinates or NOWHERE
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
    return bool(cursor.rowcount)
