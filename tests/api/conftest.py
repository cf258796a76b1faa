"""The API, served: without a broker, and with one."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, TopicPartition

from ops.topics import create_topics
from schemas.settings import Settings
from tests.api.serving import Served, serving
from tests.ops.broker import end_of


@pytest.fixture
def api(database_url: str) -> Iterator[Served]:
    with serving(database_url) as served:
        yield served


@dataclass
class Wired:
    """The API with a broker behind it."""

    api: Served
    settings: Settings

    def records(self, topic: str) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
        """Key, value and headers of all that is on the topic's only partition."""
        consumer = Consumer({**self.settings.librdkafka(), "group.id": "reads-back", "enable.auto.commit": False})
        place = TopicPartition(self.settings.topic_prefix + topic, 0, 0)
        found = []
        try:
            end = end_of(consumer, place)
            consumer.assign([place])
            while len(found) < end:
                record = consumer.poll(60)
                assert record is not None
                assert record.error() is None
                found.append((record.key(), record.value(), dict(record.headers() or [])))
        finally:
            consumer.close()
        return found


@pytest.fixture
def wired(database_url: str, bootstrap_servers: str, namespace: str) -> Iterator[Wired]:
    settings = Settings(database=database_url, kafka=bootstrap_servers, topic_prefix=namespace, partitions=1)
    create_topics(settings)
    with serving(database_url, bootstrap_servers, topic_prefix=namespace) as served:
        yield Wired(served, settings)
