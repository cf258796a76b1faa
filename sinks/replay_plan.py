"""What is there already of what a replay would write: read by plans and simulations, on their snapshot."""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from psycopg2.extensions import cursor as Cursor

from sinks.batch import Coordinates
from sinks.ledger.states import text_array

_SOURCES: Final = {
    "semesters": "SELECT id FROM semesters WHERE id = ANY(%s)",
    "sessions": "SELECT id FROM sessions WHERE id = ANY(%s)",
}
_BADGE: Final = "SELECT count(*) FROM tournament_badges WHERE user_id = %s AND semester_id = %s AND badge_type = %s"
_LETTER: Final = """
SELECT count(*) FROM dead_letters WHERE log_id = %s AND topic = %s AND partition = %s AND "offset" = %s
"""
_GIVEN: Final = """
SELECT user_id, "grant" FROM reward_receipts
 WHERE event_key = ANY(%(keys)s::text[]) OR corrects = ANY(%(keys)s::text[])
"""


def fetch_sources(cursor: Cursor, table: Literal["semesters", "sessions"], ids: Collection[int]) -> set[int]:
    """Those of the tournaments, or sessions, that exist."""
    cursor.execute(_SOURCES[table], (list(ids),))
    return {id_ for (id_,) in cursor.fetchall()}


def has_badge(cursor: Cursor, badge: tuple[int, int, str]) -> bool:
    """Whether the user was ever given the badge, revoked or not."""
    return _counts(cursor, _BADGE, badge)


def is_dead_letter(cursor: Cursor, where: Coordinates) -> bool:
    """Whether the record is kept as a dead letter."""
    return _counts(cursor, _LETTER, (where.log_id, where.topic, where.partition, where.offset))


def fetch_given(cursor: Cursor, keys: Collection[str]) -> list[tuple[int, Mapping[str, Any]]]:
    """What the sources with these base keys have given: user and grant, of every receipt."""
    cursor.execute(_GIVEN, {"keys": text_array(keys)})
    return cursor.fetchall()


def _counts(cursor: Cursor, statement: str, values: tuple[Any, ...]) -> bool:
    cursor.execute(statement, values)
    row: Any = cursor.fetchone()
    return bool(row[0])
