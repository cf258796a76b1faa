"""What a Postgres server is, as far as Laurels cares: its version, who we are on it, and how it is set."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

from sinks.roles import WORKER

WHO: Final = "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
IS_WORKER: Final = """
SELECT pg_has_role(current_user, oid, 'usage') FROM pg_roles WHERE rolname = %s
"""
OWNS: Final = "SELECT pg_get_userbyid(relowner) = current_user FROM pg_class WHERE oid = to_regclass('reward_receipts')"
SETTINGS: Final = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)"
IN_BYTES: Final = "SELECT pg_size_bytes(%s)"


@dataclass(frozen=True, slots=True)
class Role:
    """Who we are in this database. `owner` of the tables, or None where there are none yet."""

    name: str
    superuser: bool
    worker: bool
    owner: bool | None


def fetch_role(cursor: Cursor) -> Role:
    """Who we are in this database."""
    cursor.execute(WHO)
    name, superuser = _one(cursor)
    cursor.execute(IS_WORKER, (WORKER,))
    worker = cursor.fetchone()
    cursor.execute(OWNS)
    owner = cursor.fetchone()
    return Role(name, superuser, bool(worker and worker[0]), None if owner is None else owner[0])


def fetch_settings(cursor: Cursor, names: Collection[str]) -> dict[str, str]:
    """How the server is set, as it would write it itself."""
    cursor.execute(SETTINGS, (list(names),))
    return dict(cursor.fetchall())


def fetch_bytes(cursor: Cursor, size: str) -> int:
    """How many bytes the server means by `size`."""
    cursor.execute(IN_BYTES, (size,))
    return int(_one(cursor)[0])


def _one(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row
