"""A small season as reconciliation sees it, and what stands in its database."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2

from schemas.events import CreditTransfer, SessionAttendance, Skill, TournamentResult, TournamentRoster
from sinks.invariants.tournaments import Grace
from streams.reconciliation import check_users

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
GRACE = Grace(timedelta(hours=24), timedelta(hours=72))
SKILLS = (Skill(name="passing", performance=80), Skill(name="tackling"))
USERS = (5, 6, 7)


def result(user_id: int, placement: int, tournament_id: int = 227, **more: object) -> TournamentResult:
    at = AT + timedelta(days=tournament_id - 227)
    values = {"event_id": "e", "status": "final", "participants": 8, "skills": SKILLS, "occurred_at": at, **more}
    return TournamentResult(user_id=user_id, tournament_id=tournament_id, placement=placement, **values)  # type: ignore[arg-type]


SEASON = (
    *(result(user_id, place) for place, user_id in enumerate(USERS, 1)),
    result(5, 2, revision=2),
    result(6, 1, 229),
    result(6, 3, 228),
    result(7, 3, status="withdrawn", revision=2),
    *(
        SessionAttendance(
            event_id="e", user_id=5, session_id=n, status="present", minutes=60, occurred_at=AT + timedelta(hours=n)
        )
        for n in range(1, 12)
    ),
    CreditTransfer(sender_id=5, receiver_id=6, amount=30, idempotency_key="a", occurred_at=AT),
    CreditTransfer(sender_id=7, receiver_id=6, amount=10**6, idempotency_key="b", occurred_at=AT),
    result(6, 8, specialization="COACH", revision=2),
    TournamentRoster(tournament_id=227, participants=3, user_ids=USERS, finalized_at=AT),
)


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def firing(url: str) -> list[tuple[object, ...]]:
    return run(url, "SELECT kind, subject FROM reward_alerts WHERE status = 'firing' ORDER BY 1, 2")


def check(url: str, *users: int) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        check_users(cursor, users, GRACE)
