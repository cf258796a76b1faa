"""Puts back rows of state: participations, attendances, badges, transfers, progress, licenses and users."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from schemas.keys import make_key
from sinks.erasure import is_erased
from sinks.repair.inserting import insert

ORDER: Final = (
    "users",
    "specialization_progress",
    "user_licenses",
    "tournament_participations",
    "session_attendances",
    "tournament_badges",
    "credit_transfers",
)
"""The tables whose rows can be put back, what is referred to first."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_JSON: Final = frozenset({"skills", "football_skills"})

_REVOKED: Final = """
SELECT max(occurred_at) FROM reward_receipts
 WHERE user_id = %s AND (event_key = %s OR corrects = %s) AND "grant"->'revoked' ? %s
"""

# Up to which result a license is rated: what comes later in that order is added, what comes earlier rates it anew.
_RATED: Final = """
UPDATE user_licenses AS l SET (rated_at, rated_tournament_id) = (
    SELECT achieved_at, semester_id FROM tournament_participations AS p
     WHERE p.user_id = l.user_id AND p.specialization_id = l.specialization_type
       AND p.status = 'final' AND NOT p.adopted AND p.skills <> '[]'
     ORDER BY achieved_at DESC, semester_id DESC LIMIT 1)
 WHERE user_id = %s AND specialization_type = %s
"""


class Row(Struct, frozen=True):
    """A row that is gone (`found` is None) or holds other values than it must. Times are microseconds since 1970."""

    table: str
    key: str
    user_id: int
    where: dict[str, Any]
    found: dict[str, Any] | None
    expected: dict[str, Any]


def put_back(cursor: Cursor, rows: Sequence[Row]) -> None:
    """Insert the rows that are gone and set those that differ, within the caller's transaction; the users are locked."""
    for row in sorted(rows, key=lambda row: ORDER.index(row.table)):
        values = {name: _value(cursor, row, name, value) for name, value in row.expected.items()}
        if row.found is None:
            insert(cursor, row.table, {**row.where, **values})
        else:
            _update(cursor, row, values)
    for row in rows:
        if row.table == "user_licenses" and "football_skills" in row.expected:
            cursor.execute(_RATED, (row.where["user_id"], row.where["specialization_type"]))


def _update(cursor: Cursor, row: Row, values: dict[str, Any]) -> None:
    setting = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in values]
    keys = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in row.where]
    statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(
        sql.Identifier(row.table), sql.SQL(", ").join(setting), sql.SQL(" AND ").join(keys)
    )
    cursor.execute(statement, [*values.values(), *row.where.values()])


def _value(cursor: Cursor, row: Row, name: str, value: Any) -> Any:
    if name == "revoked_at":
        return _revoked_at(cursor, row) if value else None
    if name == "memo" and is_erased(cursor, row.user_id, row.expected["receiver_id"]):
        return ""
    if name in _JSON and value is not None:
        return Json(value, dumps=lambda plain: msgspec.json.encode(plain).decode())
    return moment(value) if name.endswith("_at") else value


def moment(microseconds: int) -> datetime:
    """The time so many microseconds after the beginning of 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _revoked_at(cursor: Cursor, row: Row) -> datetime:
    base = make_key("tournament", str(row.where["semester_id"]), "result", row.user_id)
    cursor.execute(_REVOKED, (row.user_id, base, base, row.where["badge_type"]))
    ((at,),) = cursor.fetchall()
    assert isinstance(at, datetime)
    return at
