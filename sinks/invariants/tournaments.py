"""INV-R04: the results of a tournament match its roster. Once they do, its rewards are distributed."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen

SHOWN: Final = 5


class Grace(NamedTuple):
    """For how long after a tournament was finalized results may be missing, and for how long that is only a warning."""

    warning: timedelta
    critical: timedelta


# A withdrawn result is present, and none too many; that nobody is there twice is the table's own constraint. Who is on no
# list counts as a stranger only where the roster lists users.
_STATE: Final = """
SELECT r.tournament_id, r.participants, r.finalized_at + %(warning)s < now(), r.finalized_at + %(critical)s < now(),
       p.present, p.standing,
       (SELECT array_agg(wanted ORDER BY wanted)
          FROM (SELECT unnest(r.user_ids) AS wanted
                EXCEPT SELECT user_id FROM tournament_participations WHERE semester_id = r.tournament_id) AS missing),
       (SELECT array_agg(user_id ORDER BY user_id) FROM tournament_participations
         WHERE semester_id = r.tournament_id AND r.user_ids IS NOT NULL AND status = 'final'
           AND user_id <> ALL (r.user_ids)),
       cardinality(r.user_ids), s.tournament_status
  FROM tournament_rosters r
  JOIN semesters s ON s.id = r.tournament_id
 CROSS JOIN LATERAL (SELECT count(*) AS present, count(*) FILTER (WHERE status = 'final') AS standing
                       FROM tournament_participations p WHERE p.semester_id = r.tournament_id) AS p
 WHERE %(tournaments)s::bigint[] IS NULL OR r.tournament_id = ANY (%(tournaments)s::bigint[])
 ORDER BY r.tournament_id
"""

_TOUCHED: Final = """
SELECT DISTINCT r.tournament_id
  FROM tournament_rosters r JOIN tournament_participations p ON p.semester_id = r.tournament_id
 WHERE p.user_id = ANY (%(users)s::bigint[])
UNION
SELECT tournament_id FROM tournament_rosters WHERE recorded_at > now() - %(recent)s
UNION
SELECT substring(subject FROM '[0-9]+$')::bigint FROM reward_alerts WHERE kind = 'INV-R04' AND status = 'firing'
   AND subject LIKE 'tournament %%'
"""

# One that held for a moment has to be told again, or it would resolve when it has held long enough.
_FIRING: Final = """
SELECT subject, severity, CASE WHEN holds_since IS NULL THEN annotations ->> 'found' END
  FROM reward_alerts
 WHERE kind = 'INV-R04' AND status = 'firing' AND subject LIKE 'tournament %%'
   AND (%(tournaments)s::bigint[] IS NULL OR substring(subject FROM '[0-9]+$')::bigint = ANY (%(tournaments)s::bigint[]))
"""

_DISTRIBUTED: Final = """
UPDATE semesters SET tournament_status = 'REWARDS_DISTRIBUTED'
 WHERE id = ANY (%s::bigint[]) AND tournament_status = 'COMPLETED'
"""


def check_tournaments(
    cursor: Cursor, grace: Grace, tournaments: Collection[int] | None = None
) -> tuple[list[AlertSeen], list[int]]:
    """Look at these tournaments, or all with a roster: what is wrong, and which are complete but not yet marked so."""
    wanted = None if tournaments is None else list(tournaments)
    cursor.execute(_STATE, {**grace._asdict(), "tournaments": wanted})
    seen: list[AlertSeen] = []
    complete: list[int] = []
    for (
        tournament,
        participants,
        late,
        too_late,
        present,
        standing,
        missing,
        strangers,
        listed,
        status,
    ) in cursor.fetchall():
        wrong = []
        short = missing or present < participants
        if short and late:
            wrong.append(f"missing: {_some(missing)}" if missing else f"{participants - present} missing")
        if strangers:
            wrong.append(f"not on the roster: {_some(strangers)}")
        if standing > participants and not strangers:
            wrong.append(f"{standing} results")
        if listed is not None and listed != participants:
            wrong.append(f"a roster of {listed} users that says {participants}")
        if wrong:
            seen.append(
                AlertSeen(
                    kind="INV-R04",
                    subject=f"tournament {tournament}",
                    expected=f"results of the {participants} on the roster, once each",
                    found="; ".join(wrong),
                    labels={"tournament_id": str(tournament)},
                    severity="critical" if too_late else "warning",
                )
            )
        elif not short and status == "COMPLETED":
            complete.append(tournament)
    return seen, complete


def check_touched_tournaments(cursor: Cursor, users: Collection[int], recent: timedelta) -> list[int]:
    """The tournaments to look at: with a roster and results of these users, with a new roster, or not right so far."""
    cursor.execute(_TOUCHED, {"users": list(users), "recent": recent})
    return [tournament for (tournament,) in cursor.fetchall()]


def firing_tournaments(cursor: Cursor, tournaments: Collection[int] | None) -> set[tuple[str, str, str | None]]:
    """Subject, severity and what was found, of the alerts that fire about these tournaments, or about any."""
    cursor.execute(_FIRING, {"tournaments": None if tournaments is None else list(tournaments)})
    return set(cursor.fetchall())


def mark_distributed(cursor: Cursor, tournaments: Collection[int]) -> int:
    """Mark finished tournaments as distributed, each once; how many were."""
    cursor.execute(_DISTRIBUTED, (sorted(tournaments),))
    return cursor.rowcount


def _some(users: Collection[int]) -> str:
    shown = ", ".join(map(str, list(users)[:SHOWN]))
    return f"users {shown}" + (f" and {len(users) - SHOWN} more" if len(users) > SHOWN else "")
