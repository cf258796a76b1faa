"""The naive peer: Faust, one event one transaction, with ordinary statements.

It writes the rows that a result or an attendance comes to and keeps balances and levels, so that its database looks
alike. It is spared what costs most to get right: a correction is passed over, ratings and bonuses are left out, and
nothing fences it, relays its outbox or keeps what it cannot read.
"""

from bisect import bisect_right
from datetime import datetime
from typing import Any, Final

import faust
import msgspec
import psycopg2
from mode import CrashingSupervisor
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS, SessionAttendance, TournamentResult
from schemas.keys import Operation, SourceType, make_key
from schemas.ruleset import load_default
from schemas.settings import load_settings
from sinks.ledger.rulesets import fetch_levels

RECEIPT: Final = """
INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, topic, "grant", occurred_at)
VALUES (%s, nextval('reward_receipts_seq'), %s, 1, 'event', '\\x00', %s, '{}', %s)
ON CONFLICT DO NOTHING RETURNING seq
"""
USER: Final = "INSERT INTO users (id) VALUES (%s) ON CONFLICT DO NOTHING"
TOURNAMENT: Final = "INSERT INTO semesters (id, code, name) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
SESSION: Final = "INSERT INTO sessions (id, title, held_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
PARTICIPATION: Final = """
INSERT INTO tournament_participations (user_id, semester_id, placement, participants, skills, specialization_id,
    xp_awarded, credits_awarded, achieved_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
ATTENDANCE: Final = """
INSERT INTO session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours,
    practice_hours, skills, occurred_at)
VALUES (%s, %s, %s, %s, 1, %s, %s, %s, %s, %s)
"""
BADGE: Final = "INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (%s, %s, %s, %s)"
XP: Final = """
INSERT INTO xp_transactions (user_id, transaction_type, amount, semester_id, specialization_id, idempotency_key,
    receipt_seq, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
CREDITS: Final = """
INSERT INTO credit_transactions (user_id, transaction_type, amount, semester_id, idempotency_key, receipt_seq, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
SKILL: Final = """
INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
BALANCES: Final = "UPDATE users SET xp_balance = xp_balance + %s, credit_balance = credit_balance + %s WHERE id = %s"
PROGRESS: Final = """
INSERT INTO specialization_progress AS progress (student_id, specialization_id, total_xp, completed_sessions)
VALUES (%s, %s, %s, %s)
ON CONFLICT (student_id, specialization_id) DO UPDATE
SET total_xp = progress.total_xp + EXCLUDED.total_xp,
    completed_sessions = progress.completed_sessions + EXCLUDED.completed_sessions
RETURNING current_level, total_xp
"""
LEVEL: Final = "UPDATE specialization_progress SET current_level = %s WHERE student_id = %s AND specialization_id = %s"
LICENSE: Final = """
INSERT INTO user_licenses AS license (user_id, specialization_type, current_level, max_achieved_level)
VALUES (%s, %s, %s, %s)
ON CONFLICT (user_id, specialization_type) DO UPDATE
SET current_level = EXCLUDED.current_level,
    max_achieved_level = greatest(license.max_achieved_level, EXCLUDED.max_achieved_level)
"""

Event = TournamentResult | SessionAttendance


class Naive:
    """One event one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ruleset = load_default()
        with connection, connection.cursor() as cursor:
            cursor.execute("SET laurels.recording = 'on'")
            self._levels = fetch_levels(cursor)

    def record_result(self, event: TournamentResult) -> None:
        """A tournament result, unless it was recorded before."""
        band = self._ruleset.band(event.placement)
        tournament = event.tournament_id
        with self._connection, self._connection.cursor() as cursor:
            seq = _receipt(cursor, event, "tournament", tournament, "result", TOURNAMENT_RESULTS)
            if seq is None:
                return
            cursor.execute(TOURNAMENT, (tournament, f"T{tournament}", f"Tournament {tournament}"))
            cursor.execute(
                PARTICIPATION,
                (
                    event.user_id,
                    tournament,
                    event.placement,
                    event.participants,
                    _json(event.skills),
                    event.specialization,
                    band.xp,
                    band.credits,
                    event.occurred_at,
                ),
            )
            if band.badge is not None:
                cursor.execute(BADGE, (event.user_id, tournament, band.badge, event.occurred_at))
            keys = [make_key("tournament", tournament, operation, event.user_id) for operation in _RESULT_ENTRIES]
            self._reward(cursor, event, "TOURNAMENT", tournament, keys, (band.xp, band.credits, band.skill_points), seq)

    def record_attendance(self, event: SessionAttendance) -> None:
        """An attendance, unless it was recorded before."""
        earned = self._ruleset.attendance[event.status]
        with self._connection, self._connection.cursor() as cursor:
            seq = _receipt(cursor, event, "session", event.session_id, "presence", SESSION_ATTENDANCE)
            if seq is None:
                return
            cursor.execute(SESSION, (event.session_id, f"Session {event.session_id}", event.occurred_at))
            cursor.execute(
                ATTENDANCE,
                (
                    event.user_id,
                    event.session_id,
                    event.specialization,
                    event.status,
                    event.minutes,
                    event.theory_hours,
                    event.practice_hours,
                    _json(event.skills),
                    event.occurred_at,
                ),
            )
            keys = [make_key("session", event.session_id, operation, event.user_id) for operation in _SESSION_ENTRIES]
            amounts = (earned.xp, earned.credits, earned.skill_points)
            self._reward(cursor, event, "SESSION", event.session_id, keys, amounts, seq, sessions=int(earned.counts))

    def _reward(
        self,
        cursor: Cursor,
        event: Event,
        source_type: str,
        source_id: int,
        keys: list[str],
        amounts: tuple[int, int, int],
        seq: int,
        *,
        sessions: int = 0,
    ) -> None:
        xp, credit_amount, points = amounts
        user, at = event.user_id, event.occurred_at
        type_ = "TOURNAMENT_REWARD" if source_type == "TOURNAMENT" else "SESSION_ATTENDANCE"
        semester = source_id if source_type == "TOURNAMENT" else None
        if xp:
            cursor.execute(XP, (user, type_, xp, semester, event.specialization, keys[0], seq, at))
        if credit_amount:
            cursor.execute(CREDITS, (user, type_, credit_amount, semester, keys[1], seq, at))
        if points:
            for skill in event.skills:
                cursor.execute(SKILL, (user, source_type, source_id, skill.name, points, seq, at))
        cursor.execute(BALANCES, (xp, credit_amount, user))
        cursor.execute(PROGRESS, (user, event.specialization, xp, sessions))
        old_level, total_xp = _row(cursor)
        level = max(bisect_right(self._levels[event.specialization], total_xp), 1)
        if level != old_level:
            cursor.execute(LEVEL, (level, user, event.specialization))
        cursor.execute(LICENSE, (user, event.specialization, level, level))


_RESULT_ENTRIES: Final[tuple[Operation, ...]] = ("xp", "reward")
_SESSION_ENTRIES: Final[tuple[Operation, ...]] = ("xp", "attendance")
_json_encoder = msgspec.json.Encoder()


def _receipt(
    cursor: Cursor, event: Event, source: SourceType, source_id: int, operation: Operation, topic: str
) -> int | None:
    cursor.execute(USER, (event.user_id,))
    key = make_key(source, source_id, operation, event.user_id)
    happened_at: datetime = event.occurred_at
    cursor.execute(RECEIPT, (key, event.user_id, topic, happened_at))
    row: Any = cursor.fetchone()
    return None if row is None else int(row[0])


def _row(cursor: Cursor) -> Any:
    return cursor.fetchone()


def _json(value: object) -> str:
    return _json_encoder.encode(value).decode()


def main() -> None:
    """Run the Faust worker as its users do: plain agents, acknowledging as Faust likes."""
    settings = load_settings()
    naive = Naive(psycopg2.connect(settings.database_url, application_name="bench-naive"))
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.bootstrap_servers}",
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # A measure must end where an event fails; left to itself, Faust would step over it and go on.
        agent_supervisor=CrashingSupervisor,
    )
    result = msgspec.json.Decoder(TournamentResult).decode
    attendance = msgspec.json.Decoder(SessionAttendance).decode

    async def record_results(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            naive.record_result(result(value))

    async def record_attendances(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            naive.record_attendance(attendance(value))

    for topic, agent in ((TOURNAMENT_RESULTS, record_results), (SESSION_ATTENDANCE, record_attendances)):
        source = app.topic(settings.topic_prefix + topic, key_type=bytes, value_type=bytes)
        app.agent(source, name=topic)(agent)
    faust.Worker(app, loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main()
