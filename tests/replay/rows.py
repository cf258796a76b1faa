"""What the reward tables hold, and how a backup of them that is older is put back."""

from collections.abc import Callable, Collection
from typing import Any

import psycopg2

from tests.oracle.academy_log import Academy

Laurels = Callable[..., Any]
"""Runs a command with `--json` and gives its answer."""

EVENTS = 31
"""As many as the academy of these tests has on its topics."""

WHY = "she moved up a class"
"""What the one level command of the academy gives as its reason."""

SKILLS = [{"name": "passing"}, {"name": "speed", "performance": 80}]

OWNED = {
    "xp_transactions": "user_id",
    "credit_transactions": "user_id",
    "skill_rewards": "user_id",
    "tournament_participations": "user_id",
    "session_attendances": "user_id",
    "tournament_badges": "user_id",
    "credit_transfers": "sender_id",
    "reward_receipts": "user_id",
    "specialization_progress": "student_id",
}
TABLES = (*OWNED, "users", "license_progressions", "user_licenses", "tournament_rosters", "dead_letters", "outbox")


def restore_empty(academy: Academy, users: Collection[int]) -> None:
    """Put back a backup from before these users had anything."""
    ids = ", ".join(map(str, users))
    academy.tamper(
        "DELETE FROM license_progressions WHERE user_license_id IN "
        f"(SELECT id FROM user_licenses WHERE user_id IN ({ids}))",
        f"DELETE FROM user_licenses WHERE user_id IN ({ids})",
        *[f"DELETE FROM {table} WHERE {column} IN ({ids})" for table, column in OWNED.items()],
        f"UPDATE users SET xp_balance = 0, credit_balance = 0 WHERE id IN ({ids})",
    )


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, in an order of its own."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found[table] = cursor.fetchall()
    connection.close()
    return found


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        found = cursor.fetchall()
    connection.close()
    return found
