"""One row per limit: the last value inside, the first outside, and the field that the refusal names."""

from typing import Any

import pytest

from schemas.events import (
    CREDIT_TRANSFERS,
    LEVEL_COMMANDS,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
)
from schemas.rewards import Refused
from tests.schemas.examples import MISSING, encoded, parsed

R, A, C, T, O = TOURNAMENT_RESULTS, SESSION_ATTENDANCE, LEVEL_COMMANDS, CREDIT_TRANSFERS, TOURNAMENT_ROSTERS  # noqa: E741
MAX = 2**63 - 1
SKILL = {"name": "passing"}

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    *[(topic, {"user_id": 5, "specialization": name}) for topic in (R, A, C) for name in ("PLAYER", "COACH")],
    (R, {"tournament_id": 1}),
    (R, {"tournament_id": MAX}),
    (A, {"session_id": MAX}),
    (R, {"revision": 1}),
    (R, {"revision": 32_767}),
    (A, {"revision": 32_767}),
    *[(R, {"status": status}) for status in ("final", "withdrawn")],
    *[(A, {"status": status}) for status in ("present", "late", "absent", "excused", "withdrawn")],
    (R, {"placement": 1, "participants": 1}),
    (R, {"placement": 100_000, "participants": 100_000}),
    (R, {"placement": 9, "participants": None}),
    (R, {"placement": None, "participants": 8}),
    (R, {"skills": [SKILL] * 32}),
    (R, {"skills": []}),
    (R, {"skills": [{"name": "a"}]}),
    (R, {"skills": [{"name": "a" + "b_9" * 13}]}),
    *[(R, {"skills": [SKILL | {"performance": value}]}) for value in (0, 100, 0.0, 100.0, 61.5, None, 1e1)],
    (R, {"event_id": "x"}),
    (R, {"event_id": "x" * 128}),
    (R, {"event_id": "😀" * 128}),
    *[(A, {"minutes": value}) for value in (0, 1_440)],
    *[(A, {"theory_hours": value}) for value in (0, 1_000)],
    *[(A, {"practice_hours": value}) for value in (0, 1_000)],
    (C, {"command_id": "x" * 128}),
    *[(C, {"new_level": value}) for value in (None, -(2**63), MAX, 0)],
    *[(C, {"xp_change": value}) for value in (-1_000_000_000, 1_000_000_000)],
    *[(C, {"sessions_change": value}) for value in (-10_000, 10_000)],
    *[(C, {"theory_hours_change": value}) for value in (-10_000, 10_000)],
    *[(C, {"practice_hours_change": value}) for value in (-10_000, 10_000)],
    *[(C, {"advanced_by": value}) for value in (None, 1, MAX)],
    (C, {"reason": ""}),
    (C, {"reason": "é" * 500}),
    (T, {"idempotency_key": "!"}),
    (T, {"idempotency_key": "~" * 128}),
    *[(T, {"amount": value}) for value in (1, 1_000_000_000)],
    (T, {"receiver_id": MAX}),
    (T, {"memo": ""}),
    (T, {"memo": "😀" * 280}),
    *[(O, {"participants": value}) for value in (0, 100_000)],
    *[(O, {"user_ids": value}) for value in (None, [], [1, MAX])],
    *[(topic, {"version": 1}) for topic in (R, A, C, T, O)],
    (R, {"unknown": {"occurred_at": 1, "version": 2}}),
]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *[
        (topic, {"user_id": value}, "user_id")
        for topic in (R, A, C)
        for value in (0, -1, MAX + 1, 5.0, "5", None, True)
    ],
    *[(R, {"tournament_id": value}, "tournament_id") for value in (0, MAX + 1, MISSING, None, 10**30)],
    *[(A, {"session_id": value}, "session_id") for value in (0, MAX + 1, MISSING, None)],
    *[(topic, {"revision": value}, "revision") for topic in (R, A) for value in (0, 32_768, None, "1", True, 1.0)],
    *[(R, {"status": value}, "status") for value in (MISSING, None, "present", "Final", "", 1)],
    *[(A, {"status": value}, "status") for value in (MISSING, None, "final", ["present"])],
    *[(R, {"placement": value}, "placement") for value in (0, 100_001, 1.0, "1", True)],
    *[(R, {"participants": value}, "participants") for value in (0, 100_001, 8.0)],
    (R, {"placement": 9, "participants": 8}, "placement"),
    *[
        (topic, {"specialization": value}, "specialization")
        for topic in (R, A, C)
        for value in ("GOALKEEPER", "player", "", None, 1, "PLAYER\0")
    ],
    (R, {"skills": [SKILL] * 33}, "skills"),
    *[(topic, {"skills": value}, "skills") for topic in (R, A) for value in (None, {}, "passing")],
    *[
        (R, {"skills": [{"name": value}]}, "skills[0].name")
        for value in ("", "Passing", "9a", "_a", "a-b", "a" * 41, "a\n", None, 1)
    ],
    (R, {"skills": [SKILL, {}]}, "skills[1].name"),
    (R, {"skills": ["passing"]}, "skills[0]"),
    *[
        (R, {"skills": [SKILL | {"performance": value}]}, "skills[0].performance")
        for value in (-0.1, 100.1, "50", True, 10**400, [1])
    ],
    *[(R, {"event_id": value}, "event_id") for value in ("", "x" * 129, "a\0b", None, 1, MISSING)],
    *[(A, {"minutes": value}, "minutes") for value in (-1, 1_441, None, 1.5, "90")],
    *[(A, {"theory_hours": value}, "theory_hours") for value in (-1, 1_001, None, 0.5)],
    *[(A, {"practice_hours": value}, "practice_hours") for value in (-1, 1_001, None)],
    *[(C, {"command_id": value}, "command_id") for value in ("", "x" * 129, None, MISSING, 7)],
    *[(C, {"new_level": value}, "new_level") for value in (-(2**63) - 1, MAX + 1, "2", 2.0, True)],
    *[(C, {"xp_change": value}, "xp_change") for value in (-1_000_000_001, 1_000_000_001, None)],
    *[(C, {"sessions_change": value}, "sessions_change") for value in (-10_001, 10_001, None)],
    *[(C, {"theory_hours_change": value}, "theory_hours_change") for value in (-10_001, 10_001, None)],
    *[(C, {"practice_hours_change": value}, "practice_hours_change") for value in (-10_001, 10_001, None)],
    *[(C, {"advanced_by": value}, "advanced_by") for value in (0, MAX + 1, "1")],
    *[(C, {"reason": value}, "reason") for value in ("é" * 501, None, "a\0")],
    *[
        (T, {"idempotency_key": value}, "idempotency_key")
        for value in ("", "a b", "a" * 129, "é", "a\n", "\x7f", None, MISSING)
    ],
    *[(T, {"sender_id": value}, "sender_id") for value in (0, MAX + 1, None, MISSING)],
    *[(T, {"receiver_id": value}, "receiver_id") for value in (0, MAX + 1, None, MISSING)],
    (T, {"receiver_id": 5}, "receiver_id"),
    *[(T, {"amount": value}, "amount") for value in (0, -1, 1_000_000_001, 1.0, None, MISSING)],
    *[(T, {"memo": value}, "memo") for value in ("😀" * 281, None, "\0")],
    *[(O, {"participants": value}, "participants") for value in (-1, 100_001, None, MISSING)],
    *[(O, {"user_ids": value}, "user_ids") for value in ([1, 2, 1], {}, "1")],
    *[(O, {"user_ids": [1, value]}, "user_ids[1]") for value in (0, MAX + 1, None, 2.0, True)],
    *[(O, {"tournament_id": value}, "tournament_id") for value in (0, None, MISSING)],
    *[
        (topic, {"occurred_at": value}, "occurred_at")
        for topic in (R, A, C, T)
        for value in (MISSING, None, 1714557600)
    ],
    (O, {"finalized_at": MISSING}, "finalized_at"),
]


def _row(topic: str, changes: dict[str, Any]) -> str:
    said = ", ".join(f"{name} {'missing' if value is MISSING else value!a}" for name, value in changes.items())
    return f"{topic}: {said[:60]}"


@pytest.mark.parametrize(("topic", "changes"), ACCEPTED, ids=[_row(topic, changes) for topic, changes in ACCEPTED])
def test_what_is_within_its_limit_is_accepted(topic: str, changes: dict[str, Any]) -> None:
    event = parsed(topic, encoded(topic, **changes))
    assert not isinstance(event, Refused), event
    for name, value in changes.items():
        if name not in ("skills", "user_ids", "unknown", "version"):
            assert getattr(event, name) == value


@pytest.mark.parametrize(
    ("topic", "changes", "field"), REFUSED, ids=[_row(topic, changes) for topic, changes, _ in REFUSED]
)
def test_what_is_outside_its_limit_is_refused_and_the_field_named(
    topic: str, changes: dict[str, Any], field: str
) -> None:
    refused = parsed(topic, encoded(topic, **changes))
    assert isinstance(refused, Refused)
    assert refused.reason == "invalid_event"
    assert refused.detail.startswith(f"{field}: ")
