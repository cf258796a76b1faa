"""Balances, totals and levels against what the ledger says, and the locks under which they are set right."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct
from psycopg2.extensions import cursor as Cursor

from sinks.repair.entries import BALANCES, Entry

AT_ONCE: Final = 500
"""As many users are looked at, and locked, at once."""

_USERS: Final = "SELECT id FROM users WHERE id > %s AND (%s::bigint IS NULL OR id = %s) ORDER BY id LIMIT %s"

_BALANCES: Final = """
SELECT id, column_name, found, expected
  FROM users CROSS JOIN LATERAL (VALUES
       ('xp_balance', xp_balance,
        opening_xp + (SELECT coalesce(sum(amount), 0)::bigint FROM xp_transactions e WHERE e.user_id = users.id)),
       ('credit_balance', credit_balance,
        opening_credits + (SELECT coalesce(sum(amount), 0)::bigint FROM credit_transactions e WHERE e.user_id = users.id))
       ) AS balance (column_name, found, expected)
 WHERE id = ANY(%(users)s)
"""

# The level is where the last recorded level change left it. A standing that never had one is at level 1, unless it came
# with an adopted database: nothing says where that was.
_PROGRESS: Final = """
SELECT p.student_id, p.specialization_id, p.total_xp,
       p.opening_xp + (SELECT coalesce(sum(amount), 0)::bigint FROM xp_transactions e
                        WHERE e.user_id = p.student_id AND e.specialization_id = p.specialization_id),
       p.current_level, l.current_level, l.max_achieved_level,
       coalesce(moved.receipt_seq, 0), coalesce(moved.to_level, CASE WHEN p.created_at <= adopted.at THEN NULL ELSE 1 END)
  FROM specialization_progress p
 CROSS JOIN (SELECT max(recorded_at) AS at FROM reward_receipts WHERE origin = 'adopted') AS adopted
  LEFT JOIN user_licenses l ON l.user_id = p.student_id AND l.specialization_type = p.specialization_id
  LEFT JOIN LATERAL (SELECT receipt_seq, to_level FROM license_progressions e
                      WHERE e.user_license_id = l.id AND e.receipt_seq IS NOT NULL
                      ORDER BY e.receipt_seq DESC LIMIT 1) AS moved ON true
 WHERE p.student_id = ANY(%(users)s) ORDER BY 1, 2
"""

_LOCKS: Final = (
    "SELECT FROM users WHERE id = ANY(%(users)s) ORDER BY id FOR NO KEY UPDATE",
    """SELECT FROM specialization_progress WHERE student_id = ANY(%(users)s)
        ORDER BY student_id, specialization_id FOR NO KEY UPDATE""",
    "SELECT FROM user_licenses WHERE user_id = ANY(%(users)s) ORDER BY user_id, specialization_type FOR NO KEY UPDATE",
)

_LATEST: Final = "SELECT user_id, max(seq) FROM reward_receipts WHERE user_id = ANY(%s) GROUP BY user_id"

SET_HERE: Final = {
    "users": ("xp_balance", "credit_balance"),
    "specialization_progress": ("total_xp", "current_level"),
    "user_licenses": ("current_level", "max_achieved_level"),
}
"""Per table, the figures that follow from the ledger."""

_OWNERS: Final = {
    "users": "id = %(user)s",
    "specialization_progress": "student_id = %(user)s AND specialization_id = %(specialization)s",
    "user_licenses": "user_id = %(user)s AND specialization_type = %(specialization)s",
}


class Wrong(Struct, frozen=True):
    """A figure that is not what the ledger says."""

    table: str
    user_id: int
    specialization: str | None
    column: str
    found: int
    expected: int


def portions(cursor: Cursor, user_id: int | None) -> Iterator[list[int]]:
    """All users, or the one, in portions."""
    last = 0
    while True:
        cursor.execute(_USERS, (last, user_id, user_id, AT_ONCE))
        ids = [id_ for (id_,) in cursor.fetchall()]
        if not ids:
            return
        yield ids
        last = ids[-1]


def lock(cursor: Cursor, users: Sequence[int]) -> None:
    """Lock what the users have, in the order in which everybody does."""
    for statement in _LOCKS:
        cursor.execute(statement, {"users": list(users)})


def fetch_latest(cursor: Cursor, users: Sequence[int]) -> dict[int, int]:
    """The number of each user's latest receipt: while it is the same, nothing was recorded of them."""
    cursor.execute(_LATEST, (list(users),))
    return dict(cursor.fetchall())


def find_wrong(cursor: Cursor, users: Sequence[int], missing: Sequence[Entry] = ()) -> list[Wrong]:
    """The balances, totals and levels of `users` that are not what the ledger says, once `missing` is posted."""
    more: dict[tuple[Any, ...], int] = defaultdict(int)
    levels: dict[tuple[int, str], tuple[int, int | None]] = {}
    for entry in missing:
        values = entry.values
        if entry.table == "license_progressions":
            where = entry.user_id, values["specialization_type"]
            levels[where] = max(levels.get(where, (0, None)), (entry.seq, values["to_level"]), key=itemgetter(0))
        if entry.table in BALANCES:
            more[entry.user_id, BALANCES[entry.table]] += values["amount"]
            more[entry.user_id, values.get("specialization_id"), "total_xp"] += values["amount"]
    cursor.execute(_BALANCES, {"users": list(users)})
    wrong = [
        Wrong("users", user_id, None, column, found, expected + more[user_id, column])
        for user_id, column, found, expected in cursor.fetchall()
    ]
    cursor.execute(_PROGRESS, {"users": list(users)})
    for user_id, name, found, total, level, licensed, highest, seq, said in cursor.fetchall():
        total_xp = total + more[user_id, name, "total_xp"]
        wrong.append(Wrong("specialization_progress", user_id, name, "total_xp", found, total_xp))
        _, expected = max((seq, said), levels.get((user_id, name), (0, None)), key=itemgetter(0))
        if expected is None:
            continue
        wrong.append(Wrong("specialization_progress", user_id, name, "current_level", level, expected))
        if licensed is not None:
            wrong.append(Wrong("user_licenses", user_id, name, "current_level", licensed, expected))
            most = max(expected, highest)
            wrong.append(Wrong("user_licenses", user_id, name, "max_achieved_level", highest, most))
    return [each for each in wrong if each.found != each.expected]


def set_right(cursor: Cursor, wrong: Sequence[Wrong]) -> None:
    """Set the figures to what the ledger says, within the caller's transaction; the users are locked."""
    for each in wrong:
        assert each.column in SET_HERE[each.table]
        touched = ", updated_at = now()" if each.table == "specialization_progress" else ""
        statement = f"UPDATE {each.table} SET {each.column} = %(to)s{touched} WHERE {_OWNERS[each.table]}"
        values = {"to": each.expected, "user": each.user_id, "specialization": each.specialization}
        cursor.execute(statement, values)
