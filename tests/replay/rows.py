"""What the reward tables hold, and how a backup of them that is older is put back."""

from collections.abc import Callable, Collection
from typing import Any

import psycopg2

from bench.restoring import OWNED, PROGRESSIONS
from tests.oracle.academy_log import Academy

Laurels = Callable[..., Any]
"""Runs a command with `--json` and gives its answer."""

EVENTS = 31
"""As many as the academy of these tests has on its topics."""

WHY = "she moved up a class"
"""What the one level command of the academy gives as its reason."""

SKILLS = [{"name": "passing"}, {"name": "speed", "performance": 80}]

TABLES = (*OWNED, PROGRESSIONS, "tournament_rosters", "dead_letters", "outbox")


def restore_empty(academy: Academy, users: Collection[int]) -> None:
    """Put back a backup from before these users had anything but their own rows."""
    ids = ", ".join(map(str, users))
    academy.tamper(
        f"DELETE FROM {PROGRESSIONS} WHERE user_license_id IN (SELECT id FROM user_licenses WHERE user_id IN ({ids}))",
        *[f"DELETE FROM {table} WHERE {OWNED[table]} IN ({ids})" for table in reversed(OWNED) if table != "users"],
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
