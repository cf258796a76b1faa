"""Writes a batch's rows. Called inside the ledger's transaction, with the users' rows locked."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import chain

import msgspec
from psycopg2.extensions import cursor as Cursor

from schemas.events import SessionAttendance, TournamentResult
from schemas.rewards import License
from sinks.ledger.rows import COLUMNS, BadgeRow, Rows, SourceRow, text, time_text
from sinks.ledger.states import States, array, text_array

UPDATE_BALANCES = """
UPDATE users SET xp_balance = users.xp_balance + delta.xp, credit_balance = users.credit_balance + delta.credits
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS delta (id, xp, credits)
WHERE users.id = delta.id
"""

UPDATE_PROGRESS = """
UPDATE specialization_progress AS progress
SET current_level = after.level, total_xp = after.total_xp, completed_sessions = after.sessions,
    theory_hours_completed = after.theory_hours, practice_hours_completed = after.practice_hours,
    level_adjustment = after.level_adjustment, milestones_paid = after.milestones_paid, updated_at = now()
FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
     AS after (id, level, total_xp, sessions, theory_hours, practice_hours, level_adjustment, milestones_paid)
WHERE progress.id = after.id
"""

COPY_PROGRESS = """
COPY specialization_progress (student_id, specialization_id, current_level, total_xp, completed_sessions,
    theory_hours_completed, practice_hours_completed, level_adjustment, milestones_paid) FROM STDIN
"""

# A license's skills are JSON, one a line: taking them out of one JSON array of rows cost half as much again.
UPDATE_LICENSES = """
UPDATE user_licenses AS license
SET current_level = after.level, max_achieved_level = after.highest_level, football_skills = after.skills::jsonb,
    rated_at = after.rated_at, rated_tournament_id = after.rated_tournament_id
FROM unnest(%s::bigint[], %s::int[], %s::int[], string_to_array(%s, chr(10), ''), %s::timestamptz[], %s::bigint[])
     AS after (id, level, highest_level, skills, rated_at, rated_tournament_id)
WHERE license.id = after.id
"""

INSERT_LICENSES = """
INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level, football_skills, rated_at,
    rated_tournament_id)
SELECT user_id, specialization, level, highest_level, skills::jsonb, rated_at, rated_tournament_id
FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::int[], string_to_array(%s, chr(10), ''), %s::timestamptz[],
            %s::bigint[])
     AS made (user_id, specialization, level, highest_level, skills, rated_at, rated_tournament_id)
RETURNING id, user_id, specialization_type
"""

COPY_PROGRESSIONS = """
COPY license_progressions (user_license_id, from_level, to_level, advanced_by, advancement_reason, receipt_seq,
    advanced_at) FROM STDIN
"""

COPY_PARTICIPATIONS = """
COPY tournament_participations (user_id, semester_id, placement, participants, skills, specialization_id, status,
    revision, xp_awarded, credits_awarded, achieved_at) FROM STDIN
"""

CORRECT_PARTICIPATIONS = """
UPDATE tournament_participations AS row
SET status = after.status, revision = after.revision, xp_awarded = after.xp, credits_awarded = after.credits,
    placement = CASE WHEN after.event IS NULL THEN row.placement ELSE (after.event->>'placement')::int END,
    participants = CASE WHEN after.event IS NULL THEN row.participants ELSE (after.event->>'participants')::int END,
    skills = coalesce(after.event->'skills', row.skills),
    specialization_id = coalesce(after.event->>'specialization', row.specialization_id),
    adopted = row.adopted AND after.event IS NULL,
    achieved_at = coalesce((after.event->>'occurred_at')::timestamptz, row.achieved_at)
FROM jsonb_to_recordset(%s) AS after (user_id bigint, source_id bigint, status text, revision smallint, xp bigint,
    credits bigint, event jsonb)
WHERE row.user_id = after.user_id AND row.semester_id = after.source_id
"""

COPY_ATTENDANCES = """
COPY session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours,
    practice_hours, skills, occurred_at) FROM STDIN
"""

CORRECT_ATTENDANCES = """
UPDATE session_attendances AS row
SET status = after.status, revision = after.revision,
    specialization_id = coalesce(after.event->>'specialization', row.specialization_id),
    minutes = coalesce((after.event->>'minutes')::int, row.minutes),
    theory_hours = coalesce((after.event->>'theory_hours')::int, row.theory_hours),
    practice_hours = coalesce((after.event->>'practice_hours')::int, row.practice_hours),
    skills = coalesce(after.event->'skills', row.skills),
    occurred_at = coalesce((after.event->>'occurred_at')::timestamptz, row.occurred_at)
FROM jsonb_to_recordset(%s) AS after (user_id bigint, source_id bigint, status text, revision smallint, xp bigint,
    credits bigint, event jsonb)
WHERE row.user_id = after.user_id AND row.session_id = after.source_id
"""

# A badge that stands is granted again when its revocation is lifted; who else granted the same one changes nothing.
UPSERT_BADGES = """
INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at, revoked_at)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[])
ON CONFLICT ON CONSTRAINT uq_user_tournament_badge DO UPDATE SET revoked_at = EXCLUDED.revoked_at
"""

REMEMBER_PAYLOADS = """
UPDATE reward_receipts AS receipt SET payload_hash = seen.payload_hash
FROM unnest(%s::text[], %s::bytea[]) AS seen (event_key, payload_hash)
WHERE receipt.event_key = seen.event_key AND receipt.payload_hash IS NULL
"""

_encode_json = msgspec.json.Encoder().encode


def write_rows(cursor: Cursor, rows: Rows, states: States) -> None:
    """Write everything but dead letters and messages."""
    for table, lines in rows.copies.items():
        _copy(cursor, f"COPY {table} ({COLUMNS[table]}) FROM STDIN", lines)
    _write_participations(cursor, rows.participations)
    _write_attendances(cursor, rows.attendances)
    _write_badges(cursor, rows.badges)
    _write_states(cursor, rows, states)
    _write_progressions(cursor, rows, states)
    if rows.remembered:
        cursor.execute(REMEMBER_PAYLOADS, (list(rows.remembered), list(rows.remembered.values())))


def _copy(cursor: Cursor, statement: str, lines: Iterable[str]) -> None:
    content = "".join(lines)
    if content:
        cursor.copy_expert(statement, BytesIO(content.encode()))


def _skills(event: TournamentResult | SessionAttendance) -> str:
    return _encode_json(event.skills).decode() if event.skills else "[]"  # no name of a skill needs an escape


def _number(value: int | None) -> int | str:
    return "\\N" if value is None else value


def _write_participations(cursor: Cursor, kept: dict[tuple[int, int], SourceRow]) -> None:
    lines = []
    for (user_id, source_id), row in kept.items():
        event = row.event
        if row.is_new and isinstance(event, TournamentResult):
            lines.append(
                f"{user_id}\t{source_id}\t{_number(event.placement)}\t{_number(event.participants)}\t{_skills(event)}\t"
                f"{event.specialization}\t{row.status}\t{row.revision}\t{sum(row.after.xp_given.values())}\t"
                f"{row.after.credits_given}\t{time_text(event.occurred_at)}\n"
            )
    _copy(cursor, COPY_PARTICIPATIONS, lines)
    _correct(cursor, CORRECT_PARTICIPATIONS, kept)


def _write_attendances(cursor: Cursor, kept: dict[tuple[int, int], SourceRow]) -> None:
    lines = []
    for (user_id, source_id), row in kept.items():
        event = row.event
        if row.is_new and isinstance(event, SessionAttendance):
            lines.append(
                f"{user_id}\t{source_id}\t{event.specialization}\t{row.status}\t{row.revision}\t{event.minutes}\t"
                f"{event.theory_hours}\t{event.practice_hours}\t{_skills(event)}\t{time_text(event.occurred_at)}\n"
            )
    _copy(cursor, COPY_ATTENDANCES, lines)
    _correct(cursor, CORRECT_ATTENDANCES, kept)


def _correct(cursor: Cursor, statement: str, kept: dict[tuple[int, int], SourceRow]) -> None:
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
        cursor.execute(statement, (_encode_json(corrected).decode(),))


def _write_badges(cursor: Cursor, badges: dict[tuple[int, int, str], BadgeRow]) -> None:
    if not badges:
        return
    keys = sorted(badges)
    cursor.execute(
        UPSERT_BADGES,
        (
            array(user_id for user_id, _, _ in keys),
            array(semester_id for _, semester_id, _ in keys),
            [badge for _, _, badge in keys],
            [badges[key].earned_at for key in keys],
            [badges[key].revoked_at for key in keys],
        ),
    )


def _write_states(cursor: Cursor, rows: Rows, states: States) -> None:
    """Write balances, progress and licenses: what is there by one round trip, then what is new."""
    made_progress, changed_progress = _progress_rows(rows, states)
    made_licenses, changed_licenses = _license_rows(rows, states)
    updates: list[tuple[str, tuple[str, ...]]] = []
    users = sorted(rows.xp_deltas.keys() | rows.credit_deltas.keys())
    if users:
        xp = array(rows.xp_deltas.get(user_id, 0) for user_id in users)
        credits = array(rows.credit_deltas.get(user_id, 0) for user_id in users)
        updates.append((UPDATE_BALANCES, (array(users), xp, credits)))
    if changed_progress:
        updates.append((UPDATE_PROGRESS, tuple(map(array, zip(*changed_progress, strict=True)))))
    if changed_licenses:
        ids, licenses = zip(*changed_licenses, strict=True)
        updates.append((UPDATE_LICENSES, (array(ids), *_license_columns(licenses))))
    if updates:
        statements, parameters = zip(*updates, strict=True)
        cursor.execute(";".join(statements), tuple(chain.from_iterable(parameters)))
    _copy(cursor, COPY_PROGRESS, made_progress)
    if made_licenses:
        pairs, licenses = zip(*made_licenses, strict=True)
        owners, specializations = zip(*pairs, strict=True)
        cursor.execute(INSERT_LICENSES, (array(owners), text_array(specializations), *_license_columns(licenses)))
        states.license_ids.update({(user_id, name): row_id for row_id, user_id, name in cursor.fetchall()})


def _progress_rows(rows: Rows, states: States) -> tuple[list[str], list[tuple[int, ...]]]:
    """New progress as lines of COPY, and changed progress by row id."""
    made: list[str] = []
    changed: list[tuple[int, ...]] = []
    for user_id, specialization in sorted(rows.progress):
        values = msgspec.structs.astuple(states.users[user_id].progress[specialization])
        row_id = states.progress_ids.get((user_id, specialization))
        if row_id is None:
            made.append("\t".join(map(str, (user_id, specialization, *values))) + "\n")
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


def _write_progressions(cursor: Cursor, rows: Rows, states: States) -> None:
    _copy(
        cursor,
        COPY_PROGRESSIONS,
        (
            f"{states.license_ids[row.user_id, row.specialization]}\t{row.from_level}\t{row.to_level}\t"
            f"{_number(row.advanced_by)}\t{text(row.reason)}\t{row.seq}\t{row.at}\n"
            for row in rows.progressions
        ),
    )
