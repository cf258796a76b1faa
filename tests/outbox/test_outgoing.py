"""What a message of the outbox is as a record."""

from datetime import UTC, datetime

from sinks.outbox import OutboxMessage
from streams.outgoing import outgoing

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_dead_letter_that_is_gone_is_told_on_the_clusters_own_topic() -> None:
    message = OutboxMessage(topic="results.dlq", id="dl:1", type="", time=AT, dead_letter=1)
    record = outgoing(message, {}, "north-")
    assert (record.topic, record.key, record.value) == ("north-results.dlq", None, None)
    assert dict(record.headers)["__connect.errors.exception.message"] == b"the dead letter is gone"
