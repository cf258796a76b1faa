"""An outbox to write to, a topic to see what arrives, and relays between them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from msgspec import Raw
from psycopg2.extensions import connection as Connection

from sinks import outbox
from sinks.database import connector
from sinks.failpoints import VARIABLE
from sinks.outbox import OutboxMessage
from streams.relay import Relay
from tests.ops.broker import end_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEADLINE_SECONDS = 90.0
"""Nothing takes so long, not even on a machine that is busy with other things."""
RELAYING = Path(__file__).with_name("relaying.py")
PARTITIONS = 3
ROOT = RELAYING.parents[2]

Record = tuple[str | None, str, bytes]


class Desk:
    """What the tests do: write, relay (here or in a process of its own), and read what arrived."""

    def __init__(self, url: str, bootstrap_servers: str, topic: str, connection: Connection) -> None:
        self.url = url
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        self.connection = connection

    def message(self, user_id: int, number: int, value: Any = None) -> OutboxMessage:
        body = Raw(msgspec.json.encode({"number": number} if value is None else value))
        return OutboxMessage(
            topic=self.topic,
            key=str(user_id),
            id=f"{user_id}:{number}",
            type="test.v1",
            time=NOW,
            value=body,
        )

    def write(self, *messages: tuple[int, int]) -> None:
        """One transaction's messages, as (user, number)."""
        with self.connection, self.connection.cursor() as cursor:
            outbox.write_messages(
                cursor,
                [(user, self.message(user, number)) for user, number in messages],
            )

    def backlog(self) -> int:
        with self.connection, self.connection.cursor() as cursor:
            return outbox.backlog(cursor)

    def sessions_that_did(self, statement: str) -> set[int]:
        """The relays' sessions whose last statement was this one."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'relay' AND query = %s",
                (statement,),
            )
            return {pid for (pid,) in cursor.fetchall()}

    def relay(self, topic_prefix: str = "") -> Relay:
        settings = {"bootstrap.servers": self.bootstrap_servers}
        return Relay(connector(self.url, name="relay"), settings, topic_prefix=topic_prefix)

    @contextmanager
    def relaying(self, topic_prefix: str = "") -> Iterator[Relay]:
        relay = self.relay(topic_prefix)
        relay.start()
        try:
            yield relay
        finally:
            relay.stop()
        assert relay.failure is None

    def process(self, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if failpoint is not None:
            environment[VARIABLE] = failpoint
        return subprocess.Popen(
            [sys.executable, str(RELAYING), self.url, self.bootstrap_servers],
            env=environment,
        )

    def drained(self, relay: Relay | None = None) -> None:
        """Wait until the outbox is empty."""

        def empty() -> bool:
            assert relay is None or relay.failure is None, relay.failure
            return self.backlog() == 0

        until(empty)

    def arrived(self, topic: str | None = None) -> list[Any]:
        """Every record of the topic, in offset order per partition."""
        return read_topic(self.bootstrap_servers, topic or self.topic)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def make_topic(bootstrap_servers: str, name: str, partitions: int = PARTITIONS) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(DEADLINE_SECONDS)


def delete_topics(bootstrap_servers: str, names: list[str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for deleted in admin.delete_topics(names).values():
        deleted.result(DEADLINE_SECONDS)


def read_topic(bootstrap_servers: str, topic: str) -> list[Any]:
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "none",
        "isolation.level": "read_committed",
    }
    with closing(Consumer(settings)) as consumer:
        metadata = consumer.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic]
        ends = {number: end_of(consumer, TopicPartition(topic, number)) for number in metadata.partitions}
        consumer.assign([TopicPartition(topic, number, 0) for number, end in ends.items() if end])
        missing = sum(ends.values())
        records: list[Any] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(records) < missing:
            assert time.monotonic() < deadline, "the topic could not be read"
            record = consumer.poll(0.2)
            if record is not None and record.error() is None:
                records.append(record)
    return sorted(records, key=lambda record: (record.partition(), record.offset()))
