"""A user's account as it reads: balances now or at a moment, entries page by page, progress with licenses."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from sinks.history import fetch_balance

Row = dict[str, Any]

_BALANCES: Final = "SELECT xp_balance, credit_balance FROM users WHERE id = %s"

# Receipts are numbered under the user's lock, so a page that follows another never misses what came between them.
# What no receipt caused came with the academy's database and stands first.
_ENTRIES: Final = """
SELECT seq, kind, id, type, amount, skill, specialization, source_id, idempotency_key, created_at, recorded_at
  FROM (SELECT coalesce(receipt_seq, 0) AS seq, 'credits' AS kind, id, transaction_type AS type, amount, NULL AS skill,
               NULL AS specialization, semester_id AS source_id, idempotency_key, created_at, recorded_at
          FROM credit_transactions WHERE user_id = %(user)s AND %(credits)s
        UNION ALL
        SELECT coalesce(receipt_seq, 0), 'skill', id, source_type, points_awarded, skill_name, NULL, source_id, NULL,
               created_at, recorded_at
          FROM skill_rewards WHERE user_id = %(user)s AND %(skill)s
        UNION ALL
        SELECT coalesce(receipt_seq, 0), 'xp', id, transaction_type, amount, NULL, specialization_id, semester_id,
               idempotency_key, created_at, recorded_at
          FROM xp_transactions WHERE user_id = %(user)s AND %(xp)s) AS entry
 WHERE (seq, kind, id) > (%(seq)s, %(kind)s, %(id)s)
 ORDER BY seq, kind, id
 LIMIT %(limit)s
"""

_PROGRESS: Final = """
SELECT coalesce(p.specialization_id, l.specialization_type), p.current_level, p.total_xp, p.completed_sessions,
       p.theory_hours_completed, p.practice_hours_completed, p.level_adjustment, l.current_level,
       l.max_achieved_level, l.football_skills
  FROM (SELECT * FROM specialization_progress WHERE student_id = %(user)s) p
  FULL JOIN (SELECT * FROM user_licenses WHERE user_id = %(user)s) l ON l.specialization_type = p.specialization_id
 ORDER BY 1
"""

_EXISTS: Final = "SELECT count(*) FROM users WHERE id = %s"


class Balances(NamedTuple):
    """What a user has."""

    xp: int
    credits: int


class Entry(NamedTuple):
    """A row of the ledger; `kind` says of which table. `seq`, `kind` and `id` say where it stands among the user's."""

    seq: int
    kind: str
    id: int
    type: str
    amount: int
    skill: str | None
    specialization: str | None
    source_id: int | None
    idempotency_key: str | None
    created_at: datetime
    recorded_at: datetime


class After(NamedTuple):
    """Where a page ended."""

    seq: int = -1
    kind: str = ""
    id: int = 0


class Standing(NamedTuple):
    """Progress and license in one specialization; what is missing is None."""

    specialization: str
    level: int | None
    total_xp: int | None
    completed_sessions: int | None
    theory_hours: int | None
    practice_hours: int | None
    level_adjustment: int | None
    license_level: int | None
    highest_level: int | None
    skills: Row | None


def fetch_balances(cursor: Cursor, user_id: int, at: datetime | None = None) -> Balances | None:
    """Fetch what the user has, or had by what was recorded until `at`; None for nobody we know."""
    if at is not None:
        then = fetch_balance(cursor, user_id, at)
        return None if then is None else Balances(then.xp, then.credits)
    cursor.execute(_BALANCES, (user_id,))
    row: Any = cursor.fetchone()
    return None if row is None else Balances(*row)


def fetch_entries(cursor: Cursor, user_id: int, *, kind: str | None, after: After, limit: int) -> list[Entry] | None:
    """Fetch a page of the user's entries in the order they were recorded; None for nobody we know."""
    if not _exists(cursor, user_id):
        return None
    kinds = {name: kind in {None, name} for name in ("credits", "skill", "xp")}
    place = {"seq": after.seq, "kind": after.kind, "id": after.id}
    cursor.execute(_ENTRIES, {"user": user_id, "limit": limit, **kinds, **place})
    return [Entry(*row) for row in cursor.fetchall()]


def fetch_standings(cursor: Cursor, user_id: int) -> list[Standing] | None:
    """Fetch progress and licenses of the user; None for nobody we know."""
    if not _exists(cursor, user_id):
        return None
    cursor.execute(_PROGRESS, {"user": user_id})
    return [Standing(*row) for row in cursor.fetchall()]


def _exists(cursor: Cursor, user_id: int) -> bool:
    cursor.execute(_EXISTS, (user_id,))
    row: Any = cursor.fetchone()
    return bool(row[0])
