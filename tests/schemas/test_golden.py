"""Events are read today as they were read before."""

import json

import pytest

from schemas.events import EVENT_TOPICS
from tests.schemas.golden import FILE, reading

RECORDS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("record", RECORDS, ids=[f"{number}-{each['topic']}" for number, each in enumerate(RECORDS)])
def test_a_golden_record_is_read_as_before(record: dict[str, str]) -> None:
    value = None if record["value"] is None else record["value"].encode("latin-1")
    said = json.loads(json.dumps(reading(record["topic"], record["key"].encode(), value)))
    assert said == {name: content for name, content in record.items() if name not in {"topic", "key", "value"}}


def test_the_golden_file_has_every_topic_and_every_refusal_of_a_record() -> None:
    assert {each["topic"] for each in RECORDS if "event" in each} == set(EVENT_TOPICS)
    assert {each["refused"] for each in RECORDS if "refused" in each} == {
        "undecodable", "unknown_version", "invalid_event", "key_mismatch", "future_event",
    }  # fmt: skip
