"""An owner's way with backups: the reward tables copied aside in mid-season, and some users put back to that copy."""

from collections import defaultdict
from collections.abc import Collection
from random import Random
from typing import Final

from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Composable, Identifier

OWNED: Final = {
    "users": "id",
    "user_licenses": "user_id",
    "specialization_progress": "student_id",
    "reward_receipts": "user_id",
    "xp_transactions": "user_id",
    "credit_transactions": "user_id",
    "skill_rewards": "user_id",
    "tournament_participations": "user_id",
    "session_attendances": "user_id",
    "tournament_badges": "user_id",
    "credit_transfers": "sender_id",
}
"""The reward tables, what is referred to before what refers to it, and the column that says whose a row is."""

PROGRESSIONS: Final = "license_progressions"
"""Its rows are those of a license."""

TRANSFERS: Final = """
SELECT sender_id, receiver_id FROM credit_transfers
 WHERE (sender_id, idempotency_key) NOT IN (SELECT sender_id, idempotency_key FROM backup.credit_transfers)
"""

# Postgres looks for entries of every license that goes, and no index of ours helps it.
INDEX: Final = "CREATE INDEX ix_restoring ON credit_transactions (user_license_id) WHERE user_license_id IS NOT NULL"


def back_up(cursor: Cursor) -> None:
    """Copy the reward tables into a schema of their own, as of now."""
    cursor.execute("CREATE SCHEMA backup")
    for table in (*OWNED, PROGRESSIONS):
        copy = SQL("CREATE TABLE backup.{0} AS TABLE {0}").format(Identifier(table))
        cursor.execute(copy)


def choose_users(cursor: Cursor, number: int) -> list[int]:
    """So many users by lot, and with each of them everybody who exchanged credits with them since the backup.

    A transfer has two ends and one receipt, its sender's: who restores one end must restore the other.
    """
    cursor.execute("SELECT id FROM users ORDER BY id")
    ids = [id_ for (id_,) in cursor.fetchall()]
    cursor.execute(TRANSFERS)
    partners: dict[int, set[int]] = defaultdict(set)
    for sender, receiver in cursor.fetchall():
        partners[sender].add(receiver)
        partners[receiver].add(sender)
    Random(7).shuffle(ids)
    chosen: set[int] = set()
    for id_ in ids:
        together = _connected(id_, partners)
        if id_ not in chosen and len(chosen) + len(together) <= number:
            chosen |= together
    return sorted(chosen)


def restore(cursor: Cursor, users: Collection[int]) -> int:
    """Put `users` back to the backup as only the owner can, receipts and all; how many rows they lost."""
    values = {"users": list(users)}
    _switch_triggers(cursor, "DISABLE")
    cursor.execute(INDEX)
    before = _count(cursor, values)
    cursor.execute(SQL("DELETE FROM {} WHERE {}").format(Identifier(PROGRESSIONS), _theirs(PROGRESSIONS)), values)
    for table in reversed(OWNED):
        cursor.execute(SQL("DELETE FROM {} WHERE {}").format(Identifier(table), _theirs(table)), values)
    for table in (*OWNED, PROGRESSIONS):
        name, theirs = Identifier(table), _theirs(table, "backup.")
        cursor.execute(SQL("INSERT INTO {0} SELECT * FROM backup.{0} WHERE {1}").format(name, theirs), values)
    cursor.execute("DROP INDEX ix_restoring")
    _switch_triggers(cursor, "ENABLE")
    return before - _count(cursor, values)


def _switch_triggers(cursor: Cursor, how: str) -> None:
    for table in (*OWNED, PROGRESSIONS):
        cursor.execute(SQL("ALTER TABLE {} " + how + " TRIGGER USER").format(Identifier(table)))


def _count(cursor: Cursor, values: dict[str, list[int]]) -> int:
    total = 0
    for table in (*OWNED, PROGRESSIONS):
        cursor.execute(SQL("SELECT count(*) FROM {} WHERE {}").format(Identifier(table), _theirs(table)), values)
        ((rows,),) = cursor.fetchall()
        total += rows
    return total


def _theirs(table: str, schema: str = "") -> Composable:
    if table == PROGRESSIONS:
        licenses = SQL(schema + "user_licenses")
        return SQL("user_license_id IN (SELECT id FROM {} WHERE user_id = ANY(%(users)s))").format(licenses)
    return SQL("{} = ANY(%(users)s)").format(Identifier(OWNED[table]))


def _connected(start: int, partners: dict[int, set[int]]) -> set[int]:
    met, waiting = {start}, [start]
    while waiting:
        fresh = partners.get(waiting.pop(), set()) - met
        met |= fresh
        waiting += fresh
    return met
