"""CloudEvents headers in binary mode."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.cloudevents import MESSAGE_TYPES, cloudevent_headers, message_id
from schemas.events import EVENT_TOPICS
from schemas.parse import read_event
from schemas.rewards import Refused
from tests.schemas.examples import SPECIALIZATIONS, encoded


def test_every_required_attribute_is_a_header() -> None:
    moment = datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert dict(cloudevent_headers("r-é", "laurels.alert.firing", "/laurels", moment)) == {
        "ce_specversion": b"1.0",
        "ce_id": "r-é".encode(),
        "ce_type": b"laurels.alert.firing",
        "ce_source": b"/laurels",
        "ce_time": b"2024-05-01T10:00:00.000005Z",
        "content-type": b"application/json",
    }


def test_a_message_without_a_time_has_no_time_header() -> None:
    assert "ce_time" not in dict(cloudevent_headers("1", "t", "/s", None))
    assert "ce_time" in dict(cloudevent_headers("1", "t", "/s", datetime(2024, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("tournament-results", "r-1"),
        ("session-attendance", "a-1"),
        ("level-commands", "c-1"),
        ("credit-transfers", "5-k-1"),
        ("tournament-rosters", "5-2024-05-01T10:00:00Z"),
    ],
)
def test_a_message_is_named_after_the_fact_it_carries(topic: str, expected: str) -> None:
    event = read_event(topic, encoded(topic), SPECIALIZATIONS)
    assert not isinstance(event, Refused)
    assert message_id(event) == expected


def test_every_message_has_a_type_of_its_own() -> None:
    assert set(EVENT_TOPICS.values()) < set(MESSAGE_TYPES)
    assert len(set(MESSAGE_TYPES.values())) == len(MESSAGE_TYPES)
