"""What makes two payloads the same."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.events import (
    CREDIT_TRANSFERS,
    LEVEL_COMMANDS,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
    Event,
    TournamentResult,
)
from schemas.parse import read_event
from schemas.payload import payload_hash
from schemas.rewards import Refused
from tests.schemas.examples import MINIMAL, SPECIALIZATIONS, encoded

R, A, C, T, O = TOURNAMENT_RESULTS, SESSION_ATTENDANCE, LEVEL_COMMANDS, CREDIT_TRANSFERS, TOURNAMENT_ROSTERS  # noqa: E741
LATER = "2024-05-01T10:00:00.000001Z"

SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (R, {}, {"event_id": "another"}),
    (R, {}, {"revision": 1, "placement": None, "participants": None, "specialization": "PLAYER", "skills": []}),
    (R, {}, {"version": 1, "unknown": [1]}),
    (R, {}, {"occurred_at": "2024-05-01T12:00:00.0000009+02:00"}),
    (R, {"skills": [{"name": "a", "performance": 50}]}, {"skills": [{"performance": 50.0, "name": "a", "x": 1}]}),
    (R, {"skills": [{"name": "a", "performance": 0}]}, {"skills": [{"name": "a", "performance": -0.0}]}),
    (R, {"skills": [{"name": "a"}]}, {"skills": [{"name": "a", "performance": None}]}),
    (A, {}, {"event_id": "another", "minutes": 0, "theory_hours": 0, "practice_hours": 0, "skills": []}),
    (C, {}, {"occurred_at": LATER}),
    (C, {}, {"new_level": None, "advanced_by": None, "reason": "", "xp_change": 0}),
    (T, {}, {"occurred_at": LATER}),
    (T, {}, {"memo": ""}),
    (O, {}, {"user_ids": None, "finalized_at": "2024-05-01T10:00:00.0Z"}),
]

DIFFERENT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *[
        (R, {}, {name: value})
        for name, value in {
            "user_id": 6, "tournament_id": 228, "revision": 2, "status": "withdrawn", "placement": 1, "participants": 8,
            "specialization": "COACH", "skills": [{"name": "a"}], "occurred_at": LATER,
        }.items()
    ],
    (R, {"placement": 8}, {"participants": 8}),
    (R, {"skills": [{"name": "a"}]}, {"skills": [{"name": "a"}, {"name": "a"}]}),
    (R, {"skills": [{"name": "a"}, {"name": "b"}]}, {"skills": [{"name": "b"}, {"name": "a"}]}),
    (R, {"skills": [{"name": "a"}]}, {"skills": [{"name": "a", "performance": 0}]}),
    *[
        (A, {}, {name: value})
        for name, value in {
            "user_id": 6, "session_id": 1, "revision": 2, "status": "late", "minutes": 1, "theory_hours": 1,
            "practice_hours": 1, "specialization": "COACH", "skills": [{"name": "a"}], "occurred_at": LATER,
        }.items()
    ],
    (A, {"theory_hours": 1}, {"practice_hours": 1}),
    *[
        (C, {}, {name: value})
        for name, value in {
            "user_id": 6, "command_id": "c", "specialization": "COACH", "new_level": 1, "xp_change": 1,
            "sessions_change": 1, "theory_hours_change": 1, "practice_hours_change": 1, "advanced_by": 1, "reason": "x",
        }.items()
    ],
    *[
        (T, {}, {name: value})
        for name, value in {
            "sender_id": 7, "receiver_id": 7, "amount": 11, "memo": "x", "idempotency_key": "k-2",
        }.items()
    ],
    *[
        (O, {}, {name: value})
        for name, value in {"tournament_id": 6, "participants": 9, "user_ids": [], "finalized_at": LATER}.items()
    ],
]  # fmt: skip


def read(topic: str, changes: dict[str, Any]) -> Event:
    event = read_event(topic, encoded(topic, **changes), SPECIALIZATIONS)
    assert not isinstance(event, Refused), event
    return event


@pytest.mark.parametrize(("topic", "first", "second"), SAME)
def test_the_same_payload_has_the_same_hash(topic: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert payload_hash(read(topic, first)) == payload_hash(read(topic, second))


@pytest.mark.parametrize(("topic", "first", "second"), DIFFERENT)
def test_another_payload_has_another_hash(topic: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert payload_hash(read(topic, first)) != payload_hash(read(topic, second))


def test_topics_never_share_a_hash() -> None:
    assert len({payload_hash(read(topic, {})) for topic in MINIMAL}) == len(MINIMAL)


def test_a_time_counts_as_an_instant_also_where_it_was_not_parsed() -> None:
    event = read(R, {})
    assert isinstance(event, TournamentResult)
    east = event.occurred_at.astimezone(timezone(timedelta(hours=2)))
    assert isinstance(east, datetime)
    assert payload_hash(replace(event, occurred_at=east)) == payload_hash(event)


def test_a_hash_is_a_sha256_digest() -> None:
    assert len(payload_hash(read(R, {}))) == 32
