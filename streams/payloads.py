"""Finds the record that a receipt names, if its topic still holds it."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import LaurelsError
from sinks.batch import Coordinates
from streams.logs import Logs

TIMEOUT_SECONDS: Final = 5.0


class Payload(NamedTuple):
    """A record's value; None where it is not to be had any more, and `missing` says why."""

    value: bytes | None
    missing: str | None = None


def fetch_payload(client_settings: Mapping[str, Any], where: Coordinates, *, topic_prefix: str = "") -> Payload:
    """Read the record at `where`, if that is still the same log."""
    logs = Logs(client_settings, prefix=topic_prefix, timeout_seconds=TIMEOUT_SECONDS)
    try:
        log_id = logs.identify([where.topic])[where.topic]
    except LaurelsError as error:
        return Payload(None, str(error))
    if log_id != where.log_id:
        return Payload(None, f"it was read from log {where.log_id}, and the topic is another log by now: {log_id}")
    settings = {
        **client_settings,
        "group.id": "laurels-explain",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
    }
    with closing(Consumer(settings)) as consumer:
        return _read(consumer, TopicPartition(topic_prefix + where.topic, where.partition, where.offset))


def _read(consumer: Consumer, place: TopicPartition) -> Payload:
    try:
        start, _ = consumer.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
        if start > place.offset:
            return Payload(None, f"the topic begins at offset {start} by now")
        consumer.assign([place])
        record = consumer.poll(TIMEOUT_SECONDS)
    except KafkaException as error:
        return Payload(None, str(error))
    if record is None:
        return Payload(None, "Kafka did not send it in time")
    if record.error() is not None:
        return Payload(None, record.error().str())
    if record.offset() != place.offset:
        return Payload(None, "the record was compacted away")
    return Payload(record.value())
