"""How a user's XP and levels came to what they are: steps over time, as many as a chart can show."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

POINTS: Final = 300
"""More would lie on top of each other: of a longer series every so many is taken, and always the last."""
MOST_LEVELS: Final = 2_000

_OPENING: Final = "SELECT opening_xp FROM users WHERE id = %s"

_XP: Final = """
SELECT at, xp
  FROM (SELECT created_at AS at, sum(amount) OVER in_time AS xp, count(*) OVER () - row_number() OVER in_time AS later,
               count(*) OVER () AS total
          FROM xp_transactions WHERE user_id = %(user)s
        WINDOW in_time AS (ORDER BY created_at, id)) AS course
 WHERE later %% greatest(1, total / %(points)s) = 0
 ORDER BY later DESC
"""

# In the order in which levels were given, since the last one stands; what came late is drawn no earlier than what it followed.
_LEVELS: Final = """
SELECT specialization_type, current_level, from_level, to_level,
       max(advanced_at) OVER (PARTITION BY user_license_id ORDER BY p.id)
  FROM user_licenses l
  LEFT JOIN (SELECT * FROM license_progressions
              WHERE user_license_id IN (SELECT id FROM user_licenses WHERE user_id = %(user)s)
              ORDER BY id DESC LIMIT %(most)s) AS p ON p.user_license_id = l.id
 WHERE l.user_id = %(user)s
 ORDER BY specialization_type, p.id
"""


class Step(NamedTuple):
    """From `at` on it is `value`."""

    at: datetime
    value: int


class Series(NamedTuple):
    """What it was at first, and how it changed."""

    first: int
    steps: list[Step]

    @property
    def last(self) -> int:
        """What it has come to."""
        return self.steps[-1].value if self.steps else self.first


class Course(NamedTuple):
    """The XP that the entries sum to, and the level in each specialization that there is a license for."""

    xp: Series
    levels: dict[str, Series]


def fetch_course(cursor: Cursor, user_id: int) -> Course | None:
    """Fetch how the user came to where they are; None for nobody we know."""
    cursor.execute(_OPENING, (user_id,))
    user = cursor.fetchone()
    if user is None:
        return None
    cursor.execute(_XP, {"user": user_id, "points": POINTS})
    xp = Series(user[0], [Step(at, user[0] + int(sum_)) for at, sum_ in cursor.fetchall()])
    cursor.execute(_LEVELS, {"user": user_id, "most": MOST_LEVELS})
    return Course(xp, _levels(cursor.fetchall()))


def _levels(rows: Iterable[tuple[Any, ...]]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for specialization, current, before, after, at in rows:
        if after is None:
            found[specialization] = Series(current, [])
        else:
            found.setdefault(specialization, Series(before, [])).steps.append(Step(at, after))
    return found
