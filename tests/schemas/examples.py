"""One plain event of every topic, ways to write it as bytes, and an alert."""

import json
from datetime import UTC, datetime
from typing import Any

from schemas.events import (
    CREDIT_TRANSFERS,
    LEVEL_COMMANDS,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
    Event,
)
from schemas.messages import Alert
from schemas.parse import parse
from schemas.rewards import Refused

SPECIALIZATIONS = frozenset({"PLAYER", "COACH", "INTERNSHIP"})
AT = "2024-05-01T10:00:00Z"
ALERT = Alert(
    fingerprint="f",
    kind="INV-R01",
    subject="user 5",
    severity="critical",
    status="firing",
    labels={"user_id": "5"},
    annotations={"found": "7"},
    first_seen=datetime(2026, 3, 1, 10, tzinfo=UTC),
    last_seen=datetime(2026, 3, 1, 10, tzinfo=UTC),
)
MISSING = object()
"""As a member's value: leave the member out."""

MINIMAL: dict[str, dict[str, Any]] = {
    TOURNAMENT_RESULTS: {
        "event_id": "r-1",
        "user_id": 5,
        "tournament_id": 227,
        "status": "final",
        "occurred_at": AT,
    },
    SESSION_ATTENDANCE: {
        "event_id": "a-1",
        "user_id": 5,
        "session_id": 789,
        "status": "present",
        "occurred_at": AT,
    },
    LEVEL_COMMANDS: {"command_id": "c-1", "user_id": 5, "occurred_at": AT},
    CREDIT_TRANSFERS: {
        "idempotency_key": "k-1",
        "sender_id": 5,
        "receiver_id": 6,
        "amount": 10,
        "occurred_at": AT,
    },
    TOURNAMENT_ROSTERS: {"tournament_id": 5, "participants": 8, "finalized_at": AT},
}


def members(topic: str, **changes: Any) -> dict[str, Any]:
    """The topic's minimal event with `changes`."""
    changed = MINIMAL[topic] | changes
    return {name: value for name, value in changed.items() if value is not MISSING}


def encoded(topic: str, **changes: Any) -> bytes:
    """The topic's minimal event with `changes`, as bytes."""
    return json.dumps(members(topic, **changes), ensure_ascii=False).encode()


def with_member(topic: str, member: str) -> bytes:
    """The topic's minimal event with one more member, written out as it stands."""
    return encoded(topic)[:-1] + b"," + member.encode() + b"}"


def parsed(
    topic: str, value: bytes | None, key: bytes | None = b"5", timestamp_ms: int | None = None
) -> Event | Refused:
    """What the parser says; the minimal events are keyed by 5."""
    return parse(topic, key, value, timestamp_ms, SPECIALIZATIONS)
