"""Tournaments and sessions that events speak of: created in the ledger's transaction where they are missing.

A new tournament is met by every worker at once, and whoever meets it second waits until the first has committed. So they
are created last, when little is left to do, and ids ascending: whoever waits then is waited for by nobody who is before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg2.extensions import cursor as Cursor

from schemas.events import SessionAttendance, TournamentResult, TournamentRoster
from sinks.batch import Delivery
from sinks.ledger.states import array
from sinks.prepared import Call, Statement, execute

CREATE_TOURNAMENTS = Statement(
    "create_tournaments",
    """
INSERT INTO semesters (id, code, name, tournament_status)
SELECT id, 'T' || id, 'Tournament ' || id, 'IN_PROGRESS' FROM unnest($1::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM semesters WHERE semesters.id = wanted.id)
ORDER BY id
ON CONFLICT DO NOTHING
""",
)

CREATE_SESSIONS = Statement(
    "create_sessions",
    """
INSERT INTO sessions (id, title, held_at)
SELECT id, 'Session ' || id, held_at FROM unnest($1::bigint[], $2::timestamptz[]) AS wanted (id, held_at)
WHERE NOT EXISTS (SELECT FROM sessions WHERE sessions.id = wanted.id)
ORDER BY id
ON CONFLICT DO NOTHING
""",
)

MAX_KNOWN: Final = 4_000
"""Of tournaments, and of sessions. Their results come within hours of each other; what is forgotten is asked for again."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Tournaments, and sessions with when they were held."""

    tournaments: set[int] = field(default_factory=set)
    sessions: dict[int, datetime] = field(default_factory=dict)


class KnownSources:
    """Remembers, within a bound, which tournaments and sessions exist, so that most batches need not ask."""

    def __init__(self) -> None:
        self._tournaments: set[int] = set()
        self._sessions: set[int] = set()

    def forget(self) -> None:
        """Ask again from here on: the database may have lost what it had."""
        self._tournaments.clear()
        self._sessions.clear()

    def missing(self, deliveries: Sequence[Delivery]) -> Sources:
        """The tournaments and sessions that the deliveries speak of and nobody knows of yet."""
        missing = Sources()
        for delivery in deliveries:
            event = delivery.parsed
            if type(event) is SessionAttendance:
                if event.session_id not in self._sessions:
                    missing.sessions.setdefault(event.session_id, event.occurred_at)
            elif (
                isinstance(event, (TournamentResult, TournamentRoster)) and event.tournament_id not in self._tournaments
            ):
                missing.tournaments.add(event.tournament_id)
        return missing

    def remember(self, created: Sources) -> None:
        """They exist: what created them, or found them, has committed."""
        _remember(self._tournaments, created.tournaments)
        _remember(self._sessions, created.sessions)


def create_sources(cursor: Cursor, missing: Sources) -> None:
    """Make sure that they exist, within the caller's transaction."""
    calls: list[Call] = []
    if missing.tournaments:
        calls.append((CREATE_TOURNAMENTS, (array(sorted(missing.tournaments)),)))
    if missing.sessions:
        ordered = sorted(missing.sessions)
        calls.append((CREATE_SESSIONS, (array(ordered), array(missing.sessions[id_] for id_ in ordered))))
    if calls:
        execute(cursor, *calls)


def _remember(known: set[int], created: Iterable[int]) -> None:
    known.update(created)
    if len(known) > MAX_KNOWN:
        known.clear()
