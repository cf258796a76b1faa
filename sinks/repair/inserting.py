"""Inserts a row of any table where it is not there."""

from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor


def insert(cursor: Cursor, table: str, values: dict[str, Any]) -> bool:
    """Insert the row; False where somebody has done so meanwhile."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join([sql.Placeholder()] * len(values)),
    )
    cursor.execute(statement, list(values.values()))
    return bool(cursor.rowcount)
