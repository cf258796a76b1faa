"""Where it is measured: scratch databases on one Postgres, topics on one Kafka, and the processes under test."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg2 import errors
from psycopg2.sql import SQL, Identifier

from bench.errors import BenchFailed
from bench.workload import PARTITIONS, Record
from ops.embedded.child import Child
from schemas.events import EVENT_TOPICS, REWARD_ALERTS, REWARD_ENTRIES, dead_letter_topic
from sinks.migration import migrate_to_head

TRANSACTION_MS: Final = 600_000
ADMIN_SECONDS: Final = 30.0
TOPIC_NAMES: Final = (*EVENT_TOPICS, *map(dead_letter_topic, EVENT_TOPICS), REWARD_ENTRIES, REWARD_ALERTS)


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of one measure, told from others by their prefix. `counts` are the records per topic and partition."""

    prefix: str
    counts: Mapping[tuple[str, int], int]


@dataclass(slots=True)
class Stand:
    """One Postgres, one Kafka (none where no measure needs it), and a folder for logs."""

    database_url: str
    client: Mapping[str, Any] | None
    """How a confluent-kafka client reaches Kafka."""
    folder: Path
    name: str = field(default_factory=lambda: f"bench_{os.getpid()}_{int(time.time()) % 100_000}")
    _numbers: Iterator[int] = field(default_factory=count)

    # Postgres

    def prepare(self) -> None:
        """Migrate the database that every scratch database is a copy of."""
        self._administer(SQL("CREATE DATABASE {}").format(Identifier(self.name)))
        migrate_to_head(self._url(self.name))

    def clear(self) -> None:
        """Drop it again."""
        self._administer(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(self.name)))

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh, migrated database, after a checkpoint, so that every measure begins alike."""
        name = f"{self.name}_{next(self._numbers)}"
        self._administer(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(self.name)))
        try:
            self.checkpoint()
            yield self._url(name)
        finally:
            self._administer(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def checkpoint(self) -> None:
        """Write out what is dirty, where we may: no measure should pay for the one before."""
        with suppress(errors.InsufficientPrivilege):
            self._administer(SQL("CHECKPOINT"))

    def _administer(self, statement: Any) -> None:
        with closing(psycopg2.connect(self.database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _url(self, database: str) -> str:
        return urlunsplit(urlsplit(self.database_url)._replace(path=f"/{database}"))

    # Kafka

    def kafka(self, **more: object) -> dict[str, Any]:
        """The configuration of a client; `more` has underscores where librdkafka has dots."""
        if self.client is None:
            raise BenchFailed("this measure needs Kafka")
        return {**self.client, "log_level": 3, **{name.replace("_", "."): value for name, value in more.items()}}

    @contextmanager
    def topics(self) -> Iterator[str]:
        """The prefix of a fresh set of topics, which are deleted again."""
        prefix = f"{self.name}_{next(self._numbers)}."
        admin = AdminClient(self.kafka())
        names = [prefix + name for name in TOPIC_NAMES]
        made = admin.create_topics([NewTopic(name, PARTITIONS) for name in names], operation_timeout=ADMIN_SECONDS)
        try:
            for answer in made.values():
                answer.result(ADMIN_SECONDS)
            yield prefix
        except KafkaException as error:
            raise BenchFailed(f"Kafka refuses: {error}") from error
        finally:
            for answer in admin.delete_topics(names, operation_timeout=ADMIN_SECONDS).values():
                with suppress(KafkaException):
                    answer.result(ADMIN_SECONDS)

    def fill(self, prefix: str, records: Iterable[Record]) -> Topics:
        """Publish `records`, for everyone to see at once."""
        return _publish(Producer(self.kafka(enable_idempotence=True, **_BULK)), prefix, records)

    @contextmanager
    def held_back(self, prefix: str, records: Iterable[Record]) -> Iterator["HeldBack"]:
        """Publish `records` in one open transaction: they stand in the topics, and are seen when it is committed.

        So a clock can start with everything in place: the topics filled, the workers assigned and waiting.
        """
        producer = Producer(self.kafka(transactional_id=prefix, transaction_timeout_ms=TRANSACTION_MS, **_BULK))
        producer.init_transactions(ADMIN_SECONDS)
        producer.begin_transaction()
        held = HeldBack(producer, _publish(producer, prefix, records))
        try:
            yield held
        finally:
            if not held.released:
                producer.abort_transaction(ADMIN_SECONDS)

    # Processes

    @contextmanager
    def process(
        self, name: str, command: Sequence[str], *, database: str, prefix: str = "", **settings: object
    ) -> Iterator[Child]:
        """A Python process with the worker's settings in its environment; stopped at the end, whatever happens."""
        environ = self.environ(database, prefix, **settings)
        log = self.folder / f"{next(self._numbers)}-{name}.log"
        child = Child(name, [sys.executable, *command], log=log, environ=environ, folder=self.folder)
        try:
            yield child
        finally:
            child.stop(seconds=15)

    def environ(self, database: str, prefix: str = "", **settings: object) -> dict[str, str]:
        """The environment in which our commands work on `database` and the topics of `prefix`."""
        return {
            **os.environ,
            "DATABASE_URL": database,
            "KAFKA_BOOTSTRAP_SERVERS": str(self.kafka()["bootstrap.servers"]),
            "LAURELS_TOPIC_PREFIX": prefix,
            "LAURELS_PARTITIONS": str(PARTITIONS),
            "LAURELS_LOG_LEVEL": "warning",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            **{f"LAURELS_{key.upper()}": str(value) for key, value in settings.items()},
        }


@dataclass(slots=True)
class HeldBack:
    """Records that nobody who reads what is committed can see yet."""

    producer: Producer
    topics: Topics
    released: bool = False

    def release(self) -> float:
        """Let them be seen; the moment just before, on the monotonic clock."""
        at = time.monotonic()
        self.released = True
        self.producer.commit_transaction(ADMIN_SECONDS)
        return at


_BULK: Final[dict[str, Any]] = {"linger_ms": 20, "compression_type": "lz4", "queue_buffering_max_messages": 200_000}


def _publish(producer: Producer, prefix: str, records: Iterable[Record]) -> Topics:
    counts: Counter[tuple[str, int]] = Counter()
    failures: list[str] = []

    def answered(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    for record in records:
        while True:
            try:
                producer.produce(
                    prefix + record.topic, record.value, record.key, record.partition, on_delivery=answered
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break
        counts[record.topic, record.partition] += 1
        producer.poll(0)
    if producer.flush(ADMIN_SECONDS) or failures:
        raise BenchFailed(f"Kafka did not take the records: {failures[:1] or 'no answer'}")
    return Topics(prefix, counts)
