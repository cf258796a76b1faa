"""Tournaments and sessions that events speak of: created before the ledger's transaction where they are missing.

In a short transaction of its own, ids ascending: a new tournament is met by every worker at once, and none should wait
for the other's whole batch. The rows say nothing but that the source exists, so an early one harms nobody.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from psycopg2.extensions import connection as Connection

from schemas.events import SessionAttendance, TournamentResult, TournamentRoster
from sinks.batch import Delivery
from sinks.ledger.states import array

CREATE_TOURNAMENTS = """
INSERT INTO semesters (id, code, name, tournament_status)
SELECT id, 'T' || id, 'Tournament ' || id, 'IN_PROGRESS' FROM unnest(%s::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM semesters WHERE semesters.id = wanted.id)
ORDER BY id
ON CONFLICT DO NOTHING
"""

CREATE_SESSIONS = """
INSERT INTO sessions (id, title, held_at)
SELECT id, 'Session ' || id, held_at FROM unnest(%s::bigint[], %s::timestamptz[]) AS wanted (id, held_at)
WHERE NOT EXISTS (SELECT FROM sessions WHERE sessions.id = wanted.id)
ORDER BY id
ON CONFLICT DO NOTHING
"""

MAX_KNOWN: Final = 100_000


class KnownSources:
    """Remembers, within a bound, which tournaments and sessions exist, so that most batches need not ask."""

    def __init__(self) -> None:
        self._tournaments: set[int] = set()
        self._sessions: set[int] = set()

    def forget(self) -> None:
        """Ask again from here on: the database may have lost what it had."""
        self._tournaments.clear()
        self._sessions.clear()

    def create_missing(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        """Make sure that every tournament and session that the deliveries speak of exists."""
        tournaments: set[int] = set()
        sessions: dict[int, datetime] = {}
        for delivery in deliveries:
            event = delivery.parsed
            if type(event) is SessionAttendance:
                if event.session_id not in self._sessions:
                    sessions.setdefault(event.session_id, event.occurred_at)
            elif (
                isinstance(event, (TournamentResult, TournamentRoster)) and event.tournament_id not in self._tournaments
            ):
                tournaments.add(event.tournament_id)
        if not tournaments and not sessions:
            return
        with connection, connection.cursor() as cursor:
            if tournaments:
                cursor.execute(CREATE_TOURNAMENTS, (array(sorted(tournaments)),))
            if sessions:
                ordered = sorted(sessions)
                cursor.execute(CREATE_SESSIONS, (array(ordered), [sessions[id_] for id_ in ordered]))
        self._remember(self._tournaments, tournaments)
        self._remember(self._sessions, sessions.keys())

    @staticmethod
    def _remember(known: set[int], created: AbstractSet[int]) -> None:
        if len(known) + len(created) > MAX_KNOWN:
            known.clear()
        known |= created
