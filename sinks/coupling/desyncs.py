"""Compares progress and license: for one user in one specialization, and for everyone at once."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError

Kind = Literal[
    "level_mismatch",
    "progress_without_license",
    "license_without_progress",
    "level_above_maximum",
    "highest_below_current",
]
"""What can be wrong with a pair, in the order of the invariants SYNC-01 to SYNC-05."""

# Both sides at once, so that a side without the other is seen, too.
PAIRS: Final = """
SELECT coalesce(progress.user_id, license.user_id) AS user_id, specializations.id AS specialization,
       progress.level AS progress_level, license.level AS license_level, license.highest_level,
       specializations.max_levels AS max_level
  FROM (SELECT student_id AS user_id, specialization_id AS specialization, current_level AS level
          FROM specialization_progress
         WHERE (%(user_id)s::bigint IS NULL OR student_id = %(user_id)s)
           AND (%(specialization)s::text IS NULL OR specialization_id = %(specialization)s)) AS progress
  FULL JOIN (SELECT user_id, specialization_type AS specialization, current_level AS level,
                    max_achieved_level AS highest_level
          FROM user_licenses
         WHERE (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
           AND (%(specialization)s::text IS NULL OR specialization_type = %(specialization)s)) AS license
    ON license.user_id = progress.user_id AND license.specialization = progress.specialization
  JOIN specializations ON specializations.id = coalesce(progress.specialization, license.specialization)
"""

KINDS_OF_PAIR: Final = """
array_remove(ARRAY[
    CASE WHEN progress_level <> license_level THEN 'level_mismatch' END,
    CASE WHEN license_level IS NULL THEN 'progress_without_license' END,
    CASE WHEN progress_level IS NULL THEN 'license_without_progress' END,
    CASE WHEN greatest(progress_level, license_level) > max_level THEN 'level_above_maximum' END,
    CASE WHEN highest_level < license_level THEN 'highest_below_current' END
], NULL)
"""

IS_DESYNC: Final = """
(progress_level IS DISTINCT FROM license_level OR greatest(progress_level, license_level) > max_level
 OR highest_level < license_level)
"""

_COLUMNS: Final = "user_id, specialization, progress_level, license_level, highest_level, max_level"

_FIND: Final = f"""
SELECT {_COLUMNS}, {KINDS_OF_PAIR} FROM ({PAIRS}) AS pair
 WHERE {IS_DESYNC} AND (user_id, specialization) > (%(after_user)s, %(after_specialization)s)
 ORDER BY user_id, specialization LIMIT %(limit)s
"""

_COUNT: Final = f"""
SELECT kind, count(*) FROM ({PAIRS}) AS pair, unnest({KINDS_OF_PAIR}) AS kind WHERE {IS_DESYNC} GROUP BY kind
"""

_ANY: Final = f"SELECT EXISTS (SELECT FROM ({PAIRS}) AS pair WHERE {IS_DESYNC})"

_EVERYONE: Final = {"user_id": None, "specialization": None}


class UnknownSpecialization(LaurelsError):
    """There is no such specialization."""


class Desync(NamedTuple):
    """A user's progress and license in one specialization that are not as they should be, and in what."""

    user_id: int
    specialization: str
    progress_level: int | None
    license_level: int | None
    highest_level: int | None
    max_level: int
    kinds: list[Kind]


class Checked(NamedTuple):
    """What a check of one user in one specialization came to. `difference` is progress minus license."""

    user_id: int
    specialization: str
    consistent: bool
    progress_level: int | None
    license_level: int | None
    highest_level: int | None
    max_level: int
    difference: int | None
    kinds: list[Kind]
    message: str
    recommended_action: str


def check(cursor: Cursor, user_id: int, specialization: str) -> Checked:
    """Compare the user's progress and license in `specialization`."""
    (max_level,) = known_specializations(cursor, [specialization])
    cursor.execute(
        f"SELECT {_COLUMNS}, {KINDS_OF_PAIR} FROM ({PAIRS}) AS pair",
        {"user_id": user_id, "specialization": specialization},
    )
    row = cursor.fetchone()
    found = Desync(*row) if row else Desync(user_id, specialization, None, None, None, max_level, [])
    progress, license_ = found.progress_level, found.license_level
    return Checked(
        user_id=user_id,
        specialization=specialization,
        consistent=not found.kinds,
        progress_level=progress,
        license_level=license_,
        highest_level=found.highest_level,
        max_level=found.max_level,
        difference=None if progress is None or license_ is None else progress - license_,
        kinds=found.kinds,
        message=_message(found),
        recommended_action=_recommendation(found),
    )


def find_desyncs(
    cursor: Cursor,
    *,
    specialization: str | None = None,
    user_id: int | None = None,
    after: tuple[int, str] = (0, ""),
    limit: int | None = None,
) -> list[Desync]:
    """Fetch the desyncs in the order of users, from the one after the user and specialization in `after`."""
    wanted = {"specialization": specialization, "user_id": user_id, "limit": limit}
    cursor.execute(_FIND, {**wanted, "after_user": after[0], "after_specialization": after[1]})
    return [Desync(*row) for row in cursor.fetchall()]


def count_desyncs(cursor: Cursor, *, specialization: str | None = None, user_id: int | None = None) -> dict[Kind, int]:
    """Count them, by kind. One that is of several kinds counts for each."""
    cursor.execute(_COUNT, {"specialization": specialization, "user_id": user_id})
    found = dict(cursor.fetchall())
    return {kind: found.get(kind, 0) for kind in get_args(Kind)}


def has_desyncs(cursor: Cursor) -> bool:
    """Whether there is any."""
    cursor.execute(_ANY, _EVERYONE)
    row = cursor.fetchone()
    return row is not None and bool(row[0])


def known_specializations(cursor: Cursor, names: Iterable[str]) -> list[int]:
    """The highest level of each of these specializations; raises `UnknownSpecialization` where there is no such one."""
    cursor.execute("SELECT id, max_levels FROM specializations ORDER BY id")
    known = dict(cursor.fetchall())
    for name in names:
        if name not in known:
            message = f"there is no specialization {name!r}: known are {', '.join(known)}"
            raise UnknownSpecialization(message)
    return [known[name] for name in names]


def _message(found: Desync) -> str:
    progress, license_ = found.progress_level, found.license_level
    if progress is None and license_ is None:
        return "the user has neither progress nor license here"
    parts = []
    if progress is None:
        parts.append(f"there is a license at level {license_} without progress")
    elif license_ is None:
        parts.append(f"there is progress at level {progress} without a license")
    elif progress != license_:
        parts.append(f"progress is at level {progress}, license at {license_}")
    if "level_above_maximum" in found.kinds:
        parts.append(f"the highest level here is {found.max_level}")
    if "highest_below_current" in found.kinds:
        parts.append(f"the license's highest level of {found.highest_level} is below its level of {license_}")
    return "; ".join(parts) or f"progress and license are both at level {progress}"


def _recommendation(found: Desync) -> str:
    if not found.kinds:
        return "none"
    level = found.license_level if found.progress_level is None else found.progress_level
    source = "license" if found.progress_level is None else "progress"
    assert level is not None
    return f"sync from {source}: both to level {min(level, found.max_level)}"
