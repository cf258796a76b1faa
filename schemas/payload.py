"""What makes two payloads the same: a hash over the fields that count, after decoding and defaulting.

`event_id` never counts: it names a message, not a fact. Decided once and for all, commands leave out when they were
given, transfers keep just what they move. Times count as instants, 50 equals 50.0, and skills are the list as sent.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import assert_never

from msgspec import json

from schemas.events import (
    CreditTransfer,
    Event,
    LevelCommand,
    SessionAttendance,
    Skill,
    TournamentResult,
    TournamentRoster,
)

_encode = json.Encoder().encode


def payload_hash(event: Event) -> bytes:
    """Thirty-two bytes that are equal for the same payloads, and only for those."""
    return sha256(_encode(_facts(event))).digest()


def _facts(event: Event) -> tuple[object, ...]:
    """The fields that count, led by a word for the kind of event."""
    if type(event) is TournamentResult:
        return (
            "tournament",
            event.user_id,
            event.tournament_id,
            event.revision,
            event.status,
            event.placement,
            event.participants,
            event.specialization,
            _skills(event.skills),
            _instant(event.occurred_at),
        )
    if type(event) is SessionAttendance:
        return (
            "session",
            event.user_id,
            event.session_id,
            event.revision,
            event.status,
            event.specialization,
            event.minutes,
            event.theory_hours,
            event.practice_hours,
            _skills(event.skills),
            _instant(event.occurred_at),
        )
    if type(event) is LevelCommand:
        return (
            "command",
            event.user_id,
            event.command_id,
            event.specialization,
            event.new_level,
            event.xp_change,
            event.sessions_change,
            event.theory_hours_change,
            event.practice_hours_change,
            event.advanced_by,
            event.reason,
        )
    if type(event) is CreditTransfer:
        return ("transfer", event.sender_id, event.idempotency_key, event.receiver_id, event.amount, event.memo)
    if type(event) is TournamentRoster:
        return ("roster", event.tournament_id, event.participants, event.user_ids, _instant(event.finalized_at))
    assert_never(event)


def _skills(skills: tuple[Skill, ...]) -> list[tuple[str, float | None]]:
    """Adding 0.0 makes 50 and 50.0 one number, and -0.0 and 0.0 as well."""
    return [(skill.name, None if skill.performance is None else skill.performance + 0.0) for skill in skills]


def _instant(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
