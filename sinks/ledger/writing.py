"""Writes a batch's rows. Called inside the ledger's transaction, with the users' rows locked."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any

import msgspec
from psycopg2.extensions import cursor as Cursor

from schemas.events import SessionAttendance, TournamentResult
from schemas.rewards import License
from sinks.ledger.rows import COLUMNS, BadgeRow, Progression, Rows, SourceRow, time_text
from sinks.ledger.states import States, array, text_array
from sinks.prepared import Call, Statement, execute

UPDATE_BALANCES = Statement(
    "update_balances",
    """
UPDATE users SET xp_balance = users.xp_balance + delta.xp, credit_balance = users.credit_balance + delta.credits
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS delta (id, xp, credits)
WHERE users.id = delta.id
""",
)

UPDATE_PROGRESS = Statement(
    "update_progress",
    """
UPDATE specialization_progress AS progress
SET current_level = after.level, total_xp = after.total_xp, completed_sessions = after.sessions,
    theory_hours_completed = after.theory_hours, practice_hours_completed = after.practice_hours,
    level_adjustment = after.level_adjustment, milestones_paid = after.milestones_paid, updated_at = now()
FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
     AS after (id, level, total_xp, sessions, theory_hours, practice_hours, level_adjustment, milestones_paid)
WHERE progress.id = after.id
""",
)

INSERT_PROGRESS = Statement(
    "insert_progress",
    """
INSERT INTO specialization_progress (student_id, specialization_id, current_level, total_xp, completed_sessions,
    theory_hours_completed, practice_hours_completed, level_adjustment, milestones_paid)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[])
""",
)

# A license's skills are JSON, one a line: taking them out of one JSON array of rows cost half as much again.
UPDATE_LICENSES = Statement(
    "update_licenses",
    """
UPDATE user_licenses AS license
SET current_level = after.level, max_achieved_level = after.highest_level, football_skills = after.skills::jsonb,
    rated_at = after.rated_at, rated_tournament_id = after.rated_tournament_id
FROM unnest($1::bigint[], $2::int[], $3::int[], string_to_array($4, chr(10), ''), $5::timestamptz[], $6::bigint[])
     AS after (id, level, highest_level, skills, rated_at, rated_tournament_id)
WHERE license.id = after.id
""",
)

INSERT_LICENSES = Statement(
    "insert_licenses",
    """
INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level, football_skills, rated_at,
    rated_tournament_id)
SELECT user_id, specialization, level, highest_level, skills::jsonb, rated_at, rated_tournament_id
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::int[], string_to_array($5, chr(10), ''), $6::timestamptz[],
            $7::bigint[])
     AS made (user_id, specialization, level, highest_level, skills, rated_at, rated_tournament_id)
""",
)

INSERT_PROGRESSIONS = Statement(
    "insert_progressions",
    """
INSERT INTO license_progressions (user_license_id, from_level, to_level, advanced_by, advancement_reason, receipt_seq,
    advanced_at)
SELECT license.id, from_level, to_level, by, reason, seq, at
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::text[], $7::bigint[], $8::timestamptz[])
     WITH ORDINALITY AS made (user_id, specialization, from_level, to_level, by, reason, seq, at, place)
JOIN user_licenses AS license ON license.user_id = made.user_id AND license.specialization_type = made.specialization
ORDER BY place
""",
)

COPY_PARTICIPATIONS = """
COPY tournament_participations (user_id, semester_id, placement, participants, skills, specialization_id, status,
    revision, xp_awarded, credits_awarded, achieved_at) FROM STDIN
"""

CORRECT_PARTICIPATIONS = Statement(
    "correct_participations",
    """
UPDATE tournament_participations AS row
SET status = after.status, revision = after.revision, xp_awarded = after.xp, credits_awarded = after.credits,
    placement = CASE WHEN after.event IS NULL THEN row.placement ELSE (after.event->>'placement')::int END,
    participants = CASE WHEN after.event IS NULL THEN row.participants ELSE (after.event->>'participants')::int END,
    skills = coalesce(after.event->'skills', row.skills),
    specialization_id = coalesce(after.event->>'specialization', row.specialization_id),
    adopted = row.adopted AND after.event IS NULL,
    achieved_at = coalesce((after.event->>'occurred_at')::timestamptz, row.achieved_at)
FROM jsonb_to_recordset($1::jsonb) AS after (user_id bigint, source_id bigint, status text, revision smallint, xp bigint,
    credits bigint, event jsonb)
WHERE row.user_id = after.user_id AND row.semester_id = after.source_id
""",
)

COPY_ATTENDANCES = """
COPY session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours,
    practice_hours, skills, occurred_at) FROM STDIN
"""

CORRECT_ATTENDANCES = Statement(
    "correct_attendances",
    """
UPDATE session_attendances AS row
SET status = after.status, revision = after.revision,
    specialization_id = coalesce(after.event->>'specialization', row.specialization_id),
    minutes = coalesce((after.event->>'minutes')::int, row.minutes),
    theory_hours = coalesce((after.event->>'theory_hours')::int, row.theory_hours),
    practice_hours = coalesce((after.event->>'practice_hours')::int, row.practice_hours),
    skills = coalesce(after.event->'skills', row.skills),
    occurred_at = coalesce((after.event->>'occurred_at')::timestamptz, row.occurred_at)
FROM jsonb_to_recordset($1::jsonb) AS after (user_id bigint, source_id bigint, status text, revision smallint, xp bigint,
    credits bigint, event jsonb)
WHERE row.user_id = after.user_id AND row.session_id = after.source_id
""",
)

# A badge that stands is granted again when its revocation is lifted; who else granted the same one changes nothing.
UPSERT_BADGES = Statement(
    "upsert_badges",
    """
INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at, revoked_at)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[])
ON CONFLICT ON CONSTRAINT uq_user_tournament_badge DO UPDATE SET revoked_at = EXCLUDED.revoked_at
""",
)

REMEMBER_PAYLOADS = Statement(
    "remember_payloads",
    """
UPDATE reward_receipts AS receipt SET payload_hash = seen.payload_hash
FROM unnest($1::text[], $2::bytea[]) AS seen (event_key, payload_hash)
WHERE receipt.event_key = seen.event_key AND receipt.payload_hash IS NULL
""",
)

_encode_json = msgspec.json.Encoder().encode


def write_rows(cursor: Cursor, rows: Rows, states: States) -> None:
    """Write everything but dead letters and messages.

    What is only added is copied, table by table; all the rest goes by one round trip. Progress before licenses.
    """
    for table, lines in rows.copies.items():
        _copy(cursor, f"COPY {table} ({COLUMNS[table]}) FROM STDIN", lines)
    _copy(cursor, COPY_PARTICIPATIONS, _participation_lines(rows.participations))
    _copy(cursor, COPY_ATTENDANCES, _attendance_lines(rows.attendances))
    calls = [
        *_corrections(CORRECT_PARTICIPATIONS, rows.participations),
        *_corrections(CORRECT_ATTENDANCES, rows.attendances),
        *_badges(rows.badges),
        *_states(rows, states),
        *_progressions(rows.progressions),
    ]
    if rows.remembered:
        calls.append((REMEMBER_PAYLOADS, (text_array(rows.remembered), list(rows.remembered.values()))))
    if calls:
        execute(cursor, *calls)


def _copy(cursor: Cursor, statement: str, lines: Iterable[str]) -> None:
    content = "".join(lines)
    if content:
        cursor.copy_expert(statement, BytesIO(content.encode()))


def _skills(event: TournamentResult | SessionAttendance) -> str:
    return _encode_json(event.skills).decode() if event.skills else "[]"  # no name of a skill needs an escape


def _number(value: int | None) -> int | str:
    return "\\N" if value is None else value


def _participation_lines(kept: dict[tuple[int, int], SourceRow]) -> Iterator[str]:
    for (user_id, source_id), row in kept.items():
        event = row.event
        if row.is_new and isinstance(event, TournamentResult):
            yield (
                f"{user_id}\t{source_id}\t{_number(event.placement)}\t{_number(event.participants)}\t{_skills(event)}\t"
                f"{event.specialization}\t{row.status}\t{row.revision}\t{sum(row.after.xp_given.values())}\t"
                f"{row.after.credits_given}\t{time_text(event.occurred_at)}\n"
            )


def _attendance_lines(kept: dict[tuple[int, int], SourceRow]) -> Iterator[str]:
    for (user_id, source_id), row in kept.items():
        event = row.event
        if row.is_new and isinstance(event, SessionAttendance):
            yield (
                f"{user_id}\t{source_id}\t{event.specialization}\t{row.status}\t{row.revision}\t{event.minutes}\t"
                f"{event.theory_hours}\t{event.practice_hours}\t{_skills(event)}\t{time_text(event.occurred_at)}\n"
            )


def _corrections(statement: Statement, kept: dict[tuple[int, int], SourceRow]) -> Iterator[Call]:
    corrected = [
        {
            "user_id": user_id,
            "source_id": source_id,
            "status": row.status,
            "revision": row.revision,
            "xp": sum(row.after.xp_given.values()),
            "credits": row.after.credits_given,
            "event": row.event,
        }
        for (user_id, source_id), row in kept.items()
        if not row.is_new
    ]
    if corrected:
        yield statement, (_encode_json(corrected).decode(),)


def _badges(badges: dict[tuple[int, int, str], BadgeRow]) -> Iterator[Call]:
    if badges:
        keys = sorted(badges)
        yield (
            UPSERT_BADGES,
            (
                array(user_id for user_id, _, _ in keys),
                array(semester_id for _, semester_id, _ in keys),
                text_array(badge for _, _, badge in keys),
                array(badges[key].earned_at for key in keys),
                array(badges[key].revoked_at for key in keys),
            ),
        )


def _states(rows: Rows, states: States) -> Iterator[Call]:
    """Balances, progress and licenses: what is there, then what is new."""
    made_progress, changed_progress = _progress_rows(rows, states)
    made_licenses, changed_licenses = _license_rows(rows, states)
    users = sorted(rows.xp_deltas.keys() | rows.credit_deltas.keys())
    if users:
        xp = array(rows.xp_deltas.get(user_id, 0) for user_id in users)
        credits = array(rows.credit_deltas.get(user_id, 0) for user_id in users)
        yield UPDATE_BALANCES, (array(users), xp, credits)
    if changed_progress:
        yield UPDATE_PROGRESS, tuple(map(array, zip(*changed_progress, strict=True)))
    if changed_licenses:
        ids, licenses = zip(*changed_licenses, strict=True)
        yield UPDATE_LICENSES, (array(ids), *_license_columns(licenses))
    if made_progress:
        owners, specializations, *values = zip(*made_progress, strict=True)
        yield INSERT_PROGRESS, (array(owners), text_array(specializations), *map(array, values))
    if made_licenses:
        pairs, licenses = zip(*made_licenses, strict=True)
        owners, specializations = zip(*pairs, strict=True)
        yield INSERT_LICENSES, (array(owners), text_array(specializations), *_license_columns(licenses))


def _progress_rows(rows: Rows, states: States) -> tuple[list[tuple[Any, ...]], list[tuple[int, ...]]]:
    """New progress by user and specialization, and changed progress by row id."""
    made: list[tuple[Any, ...]] = []
    changed: list[tuple[int, ...]] = []
    for user_id, specialization in sorted(rows.progress):
        values = msgspec.structs.astuple(states.users[user_id].progress[specialization])
        row_id = states.progress_ids.get((user_id, specialization))
        if row_id is None:
            made.append((user_id, specialization, *values))
        else:
            changed.append((row_id, *values))
    return made, changed


def _license_rows(
    rows: Rows, states: States
) -> tuple[list[tuple[tuple[int, str], License]], list[tuple[int, License]]]:
    """New licenses, and changed ones by row id."""
    made: list[tuple[tuple[int, str], License]] = []
    changed: list[tuple[int, License]] = []
    for owned in sorted(rows.licenses):
        user_id, specialization = owned
        license_ = states.users[user_id].licenses[specialization]
        row_id = states.license_ids.get(owned)
        if row_id is None:
            made.append((owned, license_))
        else:
            changed.append((row_id, license_))
    return made, changed


def _license_columns(licenses: Sequence[License]) -> tuple[str, ...]:
    """Levels, highest levels, skills, and what they are rated up to, as the statements above take them."""
    rated = [license_.rated_to for license_ in licenses]
    return (
        array(license_.level for license_ in licenses),
        array(license_.highest_level for license_ in licenses),
        b"\n".join(_encode_json(license_.skills) if license_.skills else b"" for license_ in licenses).decode(),
        array(None if at is None else at.occurred_at for at in rated),
        array(None if at is None else at.tournament_id for at in rated),
    )


def _progressions(rows: Sequence[Progression]) -> Iterator[Call]:
    if rows:
        yield (
            INSERT_PROGRESSIONS,
            (
                array(row.user_id for row in rows),
                text_array(row.specialization for row in rows),
                array(row.from_level for row in rows),
                array(row.to_level for row in rows),
                array(row.advanced_by for row in rows),
                text_array(row.reason for row in rows),
                array(row.seq for row in rows),
                text_array(row.at for row in rows),
            ),
        )
