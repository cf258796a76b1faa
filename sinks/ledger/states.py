"""Loads what the rules read, under row locks in a fixed order: users, then progress, then licenses, ids ascending."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor

from schemas.events import Skill
from schemas.rewards import Counted, Levels, License, Progress, RatedResult, Rating, RatingPoint, Source, UserState
from sinks.ledger.rulesets import fetch_rating_rules
from sinks.prepared import Statement, execute

BONUS_TYPE = "ATTENDANCE_BONUS"


def _locking(fetch: Statement) -> Statement:
    return Statement(fetch.name.replace("fetch", "lock"), f"{fetch.sql} FOR NO KEY UPDATE")


# Users are created before any row is locked, ids ascending: whoever waits here holds no lock on an older row, so two
# workers that meet the same new users cannot wait for each other in a circle. Receipts are never removed: an order that
# has one has no effect any more.
CREATE_USERS = Statement(
    "create_users",
    """
INSERT INTO users (id)
SELECT id FROM unnest($1::bigint[], $2::text[]) AS wanted (id, order_key)
WHERE NOT EXISTS (SELECT FROM users WHERE users.id = wanted.id)
  AND (order_key = '' OR (SELECT seq FROM reward_receipts WHERE event_key = order_key) IS NULL)
ORDER BY id
ON CONFLICT DO NOTHING
""",
)

FETCH_USERS = Statement(
    "fetch_users", "SELECT id, xp_balance, credit_balance FROM users WHERE id = ANY($1::bigint[]) ORDER BY id"
)
LOCK_USERS = _locking(FETCH_USERS)

FETCH_PROGRESS = Statement(
    "fetch_progress",
    """
SELECT id, student_id, specialization_id, current_level, total_xp, completed_sessions, theory_hours_completed,
       practice_hours_completed, level_adjustment, milestones_paid
FROM specialization_progress WHERE student_id = ANY($1::bigint[])
ORDER BY student_id, specialization_id
""",
)
LOCK_PROGRESS = _locking(FETCH_PROGRESS)

FETCH_LICENSES = Statement(
    "fetch_licenses",
    """
SELECT id, user_id, specialization_type, current_level, max_achieved_level, football_skills::text,
       adopted_skills::text, rated_at, rated_tournament_id
FROM user_licenses WHERE user_id = ANY($1::bigint[])
ORDER BY user_id, specialization_type
""",
)
LOCK_LICENSES = _locking(FETCH_LICENSES)

FETCH_RECEIPTS = Statement(
    "fetch_receipts",
    """
SELECT event_key, revision, payload_hash, ruleset, "grant" FROM reward_receipts WHERE event_key = ANY($1::text[])
""",
)

FETCH_CORRECTIONS = Statement(
    "fetch_corrections",
    """
SELECT corrects, revision, payload_hash, ruleset, "grant" FROM reward_receipts WHERE corrects = ANY($1::text[]) ORDER BY seq
""",
)

FETCH_PARTICIPATION_SPECIALIZATIONS = Statement(
    "fetch_participation_specializations",
    """
SELECT user_id, semester_id, specialization_id FROM tournament_participations
WHERE (user_id, semester_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
""",
)

FETCH_ATTENDANCE_SPECIALIZATIONS = Statement(
    "fetch_attendance_specializations",
    """
SELECT user_id, session_id, specialization_id FROM session_attendances
WHERE (user_id, session_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
""",
)

FETCH_ACTIVE_BADGES = Statement(
    "fetch_active_badges",
    """
SELECT user_id, semester_id, badge_type FROM tournament_badges
WHERE (user_id, semester_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[])) AND revoked_at IS NULL
""",
)

# Which ruleset stands for a result: that of its last receipt.
RESULT_RULESET = """coalesce(
    (SELECT r.ruleset FROM reward_receipts r
      WHERE r.corrects = 'tournament_' || p.semester_id || '_result_' || p.user_id ORDER BY r.seq DESC LIMIT 1),
    (SELECT r.ruleset FROM reward_receipts r
      WHERE r.event_key = 'tournament_' || p.semester_id || '_result_' || p.user_id))"""

_RATED_RESULTS = """
SELECT user_id, specialization_id, achieved_at, semester_id, placement, participants, skills, {ruleset}
FROM tournament_participations p
WHERE (user_id, specialization_id) IN (SELECT * FROM unnest($1::bigint[], $2::text[]))
  AND status = 'final' AND NOT adopted AND skills <> '[]'
"""
FETCH_RATED_RESULTS = Statement("fetch_rated_results", _RATED_RESULTS.format(ruleset="NULL"))
FETCH_RULED_RESULTS = Statement("fetch_ruled_results", _RATED_RESULTS.format(ruleset=RESULT_RULESET))


_encode_json = msgspec.json.Encoder().encode
_decode_ratings = msgspec.json.Decoder(dict[str, Rating]).decode


@dataclass(slots=True)
class States:
    """The states of a batch's users, and the row ids to write them back by."""

    users: dict[int, UserState] = field(default_factory=dict)
    progress_ids: dict[tuple[int, str], int] = field(default_factory=dict)
    license_ids: dict[tuple[int, str], int] = field(default_factory=dict)

    def sources(self) -> Iterator[Source]:
        """All that is known of any user's sources."""
        return (source for user in self.users.values() for source in user.sources.values())


def array(values: Iterable[int | datetime | None]) -> str:
    """A Postgres array literal: much cheaper than adapting every element. JSON spells the elements alike."""
    return f"{{{_encode_json(list(values))[1:-1].decode()}}}"


def text_array(values: Iterable[str]) -> str:
    """A Postgres text array literal; like `array`, for strings of any content."""
    return "{" + ",".join([f'"{value}"' if value.isidentifier() else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Creating(NamedTuple):
    """A user to be created where missing; with `order_key` only while the order with this event key is undecided."""

    user_id: int
    order_key: str = ""


def lock_states(cursor: Cursor, user_ids: Collection[int], *, creating: Collection[Creating], levels: Levels) -> States:
    """Create the users in `creating` that are missing, then lock and load what is recorded of `user_ids`."""
    states = States()
    ordered = array(sorted(user_ids))
    wanted = array(user.user_id for user in creating), text_array([user.order_key for user in creating])
    execute(cursor, (CREATE_USERS, wanted), (LOCK_USERS, (ordered,)))
    _take_users(cursor, states, user_ids, levels)
    execute(cursor, (LOCK_PROGRESS, (ordered,)))
    _take_progress(cursor, states)
    execute(cursor, (LOCK_LICENSES, (ordered,)))
    _take_licenses(cursor, states)
    return states


def read_states(cursor: Cursor, states: States, user_ids: Collection[int], levels: Levels) -> set[int]:
    """Load what is recorded of `user_ids` into `states` without a lock; those of them that exist."""
    ordered = array(sorted(user_ids))
    execute(cursor, (FETCH_USERS, (ordered,)))
    found = _take_users(cursor, states, user_ids, levels)
    execute(cursor, (FETCH_PROGRESS, (ordered,)))
    _take_progress(cursor, states)
    execute(cursor, (FETCH_LICENSES, (ordered,)))
    _take_licenses(cursor, states)
    return found


def _take_users(cursor: Cursor, states: States, user_ids: Collection[int], levels: Levels) -> set[int]:
    states.users.update({user_id: UserState(user_id, levels) for user_id in user_ids})
    found = set()
    for user_id, xp, credits in cursor.fetchall():
        user = states.users[user_id]
        user.xp_balance, user.credit_balance = xp, credits
        found.add(user_id)
    return found


def _take_progress(cursor: Cursor, states: States) -> None:
    for row_id, user_id, specialization, *values in cursor.fetchall():
        states.progress_ids[user_id, specialization] = row_id
        states.users[user_id].progress[specialization] = Progress(*values)


def _take_licenses(cursor: Cursor, states: States) -> None:
    for row_id, user_id, specialization, *values in cursor.fetchall():
        states.license_ids[user_id, specialization] = row_id
        states.users[user_id].licenses[specialization] = _license(*values)


def _license(
    level: int,
    highest: int,
    skills: str | None,
    adopted: str | None,
    rated_at: datetime | None,
    rated_tournament: int | None,
) -> License:
    return License(
        level=level,
        highest_level=highest,
        skills=_ratings(skills),
        adopted_skills=_ratings(adopted),
        rated_to=None if rated_at is None or rated_tournament is None else RatingPoint(rated_at, rated_tournament),
    )


def _ratings(skills: str | None) -> dict[str, Rating]:
    return _decode_ratings(skills) if skills else {}


class Wanted(Struct, frozen=True, gc=False):
    """A source that a batch speaks of, and the highest revision of it that the batch brings."""

    user_id: int
    kind: str
    source_id: int | str
    revision: int


def fetch_sources(cursor: Cursor, wanted: Mapping[str, Wanted]) -> dict[str, Source]:
    """What is recorded of each wanted source that has a receipt, by the event key of its first one.

    Receipts are read after the users are locked, and every writer locks them first, so nothing can be recorded in
    between. What only a correction reads is fetched only where one is on its way.
    """
    execute(cursor, (FETCH_RECEIPTS, (text_array(wanted),)))
    histories = {key: [row] for key, *row in cursor.fetchall()}
    if not histories:
        return {}
    execute(cursor, (FETCH_CORRECTIONS, (text_array(histories),)))
    for key, *row in cursor.fetchall():
        histories[key].append(row)
    corrected = {key: wanted[key] for key, history in histories.items() if wanted[key].revision > history[-1][0]}
    specializations = _recorded_specializations(cursor, corrected)
    badges = _active_badges(cursor, corrected)
    return {
        key: _source(history, specializations.get(key), badges.get(key, frozenset()))
        for key, history in histories.items()
    }


def _source(history: list[list[Any]], specialization: str | None, badges: frozenset[str]) -> Source:
    xp: dict[str, int] = {}
    skills: dict[str, int] = {}
    credits = 0
    for *_, grant in history:
        for _type, where, amount in grant.get("xp", ()):
            xp[where] = xp.get(where, 0) + amount
        for type_, amount, *_owner in grant.get("credits", ()):
            credits += 0 if type_.startswith(BONUS_TYPE) else amount
        for skill, points in grant.get("skills", ()):
            skills[skill] = skills.get(skill, 0) + points
    revision, payload_hash, ruleset, last = history[-1]
    counted = last.get("counted")
    return Source(
        revision=revision,
        payload_hash=None if payload_hash is None else bytes(payload_hash),
        ruleset=ruleset,
        specialization=specialization,
        xp_given=xp,
        credits_given=credits,
        skills_given=skills,
        badges=badges,
        counted=None if counted is None else Counted(*counted),
    )


def _pairs(wanted: Mapping[str, Wanted], kind: str) -> dict[Any, str]:
    return {(source.user_id, source.source_id): key for key, source in wanted.items() if source.kind == kind}


def _recorded_specializations(cursor: Cursor, wanted: Mapping[str, Wanted]) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, query in (
        ("tournament", FETCH_PARTICIPATION_SPECIALIZATIONS),
        ("session", FETCH_ATTENDANCE_SPECIALIZATIONS),
    ):
        pairs = _pairs(wanted, kind)
        if pairs:
            execute(cursor, (query, (array(user for user, _ in pairs), array(source for _, source in pairs))))
            found |= {pairs[user_id, source_id]: name for user_id, source_id, name in cursor.fetchall()}
    return found


def _active_badges(cursor: Cursor, wanted: Mapping[str, Wanted]) -> dict[str, frozenset[str]]:
    pairs = _pairs(wanted, "tournament")
    if not pairs:
        return {}
    execute(cursor, (FETCH_ACTIVE_BADGES, (array(user for user, _ in pairs), array(source for _, source in pairs))))
    found: dict[str, frozenset[str]] = {}
    for user_id, source_id, badge in cursor.fetchall():
        key = pairs[user_id, source_id]
        found[key] = found.get(key, frozenset()) | {badge}
    return found


def load_results(cursor: Cursor, states: States, wanted: Collection[tuple[int, str]]) -> None:
    """Give the users in `wanted` the rated results of the specializations named there."""
    for user_id, specialization in wanted:
        states.users[user_id].results[specialization] = {}
    if not wanted:
        return
    users, specializations = zip(*wanted, strict=True)
    rules = fetch_rating_rules(cursor)
    statement = FETCH_RULED_RESULTS if rules.differ else FETCH_RATED_RESULTS
    execute(cursor, (statement, (array(users), text_array(specializations))))
    for user_id, specialization, achieved_at, tournament_id, placement, participants, skills, rs in cursor.fetchall():
        point = RatingPoint(achieved_at, tournament_id)
        states.users[user_id].results[specialization][point] = RatedResult(
            placement, participants, msgspec.convert(skills, tuple[Skill, ...]), rules.of(rs)
        )
