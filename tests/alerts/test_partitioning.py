"""A publisher that puts records elsewhere than murmur2 of the key says is told, and nobody else is."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import psycopg2
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from schemas.events import EVENT_TOPICS, SESSION_ATTENDANCE
from streams.partitioning import SAMPLE, Partitioning, partition_of
from streams.schedule import run_if_due
from tests.ops.broker import java_partition

PARTITIONS = 3
SECONDS = 20


class Publishers:
    """The topics of events, and whoever publishes on them."""

    def __init__(self, servers: str, namespace: str) -> None:
        self.servers = servers
        self.namespace = namespace
        self.topic = namespace + SESSION_ATTENDANCE
        self._names = [namespace + topic for topic in EVENT_TOPICS]
        self._admin = AdminClient({"bootstrap.servers": servers})
        self._make(self._names)
        self.looker = Partitioning({"bootstrap.servers": servers}, prefix=namespace)

    def publish(self, count: int, *, keyed: bool = True, **settings: object) -> None:
        """Publish as a producer with these settings does; without keys evenly, for chance would not fill a partition."""
        producer = Producer({"bootstrap.servers": self.servers, **settings})
        for number in range(count):
            if keyed:
                producer.produce(self.topic, b"{}", key=str(number).encode())
            else:
                producer.produce(self.topic, b"{}", partition=number % PARTITIONS)
        assert producer.flush(SECONDS) == 0

    def add_partitions(self, total: int) -> None:
        for added in self._admin.create_partitions([NewPartitions(self.topic, total)]).values():
            added.result(SECONDS)

    def delete_records(self) -> None:
        everything = [TopicPartition(self.topic, number, -1) for number in range(PARTITIONS)]
        for gone in self._admin.delete_records(everything).values():
            gone.result(SECONDS)

    def make_anew(self) -> None:
        self._delete([self.topic])
        self._make([self.topic])

    def _make(self, names: list[str]) -> None:
        for made in self._admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
            made.result(SECONDS)

    def _delete(self, names: list[str]) -> None:
        for gone in self._admin.delete_topics(names).values():
            gone.result(SECONDS)

    def look(self) -> list[tuple[str, str]]:
        return [(seen.subject, seen.found.partition(":")[0]) for seen in self.looker.look()]

    def close(self) -> None:
        self._delete(self._names)


@pytest.fixture
def publishers(bootstrap_servers: str, namespace: str) -> Iterator[Publishers]:
    publishers = Publishers(bootstrap_servers, namespace)
    yield publishers
    publishers.close()


def test_a_key_belongs_where_java_puts_it() -> None:
    keys = [*(str(number).encode() for number in range(300)), *(secrets.token_bytes(length) for length in range(40))]
    for key in keys:
        assert partition_of(key, 7) == java_partition(key, 7), key


JAVA = {"partitioner": "murmur2_random"}


def test_who_partitions_as_java_does_is_not_told(publishers: Publishers) -> None:
    assert publishers.look() == []
    publishers.publish(50, **JAVA)
    assert publishers.look() == []
    assert publishers.look() == []


def test_who_partitions_otherwise_is_told_with_a_record_of_theirs(publishers: Publishers) -> None:
    publishers.look()
    publishers.publish(50, partitioner="consistent_random")
    (seen,) = publishers.looker.look()
    assert (seen.kind, seen.subject, seen.labels) == ("OPS-09", SESSION_ATTENDANCE, {"topic": SESSION_ATTENDANCE})
    assert "elsewhere: the record at offset" in seen.found
    assert seen.expected.endswith(f"of {PARTITIONS} partitions")
    assert publishers.look() == []


def test_records_without_a_key_are_told(publishers: Publishers) -> None:
    publishers.look()
    publishers.publish(4, keyed=False)
    assert publishers.look() == [(SESSION_ATTENDANCE, "4 of the 4 newest have no key")]


def test_what_was_published_before_the_first_look_is_nobodys_fault(publishers: Publishers) -> None:
    publishers.publish(50, partitioner="consistent_random")
    assert publishers.look() == []


def test_records_from_before_partitions_were_added_are_where_they_belonged(publishers: Publishers) -> None:
    publishers.look()
    publishers.publish(50, **JAVA)
    publishers.add_partitions(PARTITIONS + 2)
    assert publishers.look() == []
    publishers.publish(50, **JAVA)
    assert publishers.look() == []


def test_only_the_newest_of_many_are_read(publishers: Publishers) -> None:
    publishers.look()
    publishers.publish(300, keyed=False)
    ((_, found),) = publishers.look()
    assert found == f"{PARTITIONS * SAMPLE} of the {PARTITIONS * SAMPLE} newest have no key"


def test_aborted_records_and_markers_are_passed_over(publishers: Publishers, real_kafka: str) -> None:
    publishers.look()
    producer = Producer({"bootstrap.servers": real_kafka, "transactional.id": publishers.topic, **JAVA})
    producer.init_transactions(SECONDS)
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(publishers.topic, b"{}", key=None if end == producer.abort_transaction else b"1")
        producer.flush(SECONDS)
        end(SECONDS)
    assert publishers.look() == []


class Overtaken(Partitioning):
    """Has something happen between learning how long the logs are and reading their ends."""

    def __init__(self, publishers: Publishers, meanwhile: Callable[[], object]) -> None:
        super().__init__({"bootstrap.servers": publishers.servers}, prefix=publishers.namespace)
        self._meanwhile = meanwhile

    def _ends_now(self) -> dict[str, dict[int, int]]:
        ends = super()._ends_now()
        if any(ends[SESSION_ATTENDANCE].values()):
            self._meanwhile()
        return ends


@pytest.mark.parametrize("happens", [Publishers.delete_records, Publishers.make_anew])
def test_records_that_are_gone_before_they_are_read_trouble_nobody(
    publishers: Publishers, happens: Callable[[Publishers], None]
) -> None:
    publishers.looker = Overtaken(publishers, partial(happens, publishers))
    assert publishers.look() == []
    publishers.publish(50, keyed=False)
    assert publishers.look() == []


def test_it_is_an_alert(publishers: Publishers, database_url: str) -> None:
    def connect() -> psycopg2.extensions.connection:
        return psycopg2.connect(database_url)

    def look() -> None:
        with closing(connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE scheduled_runs SET started_at = started_at - interval '1 hour'")
        assert run_if_due(connect, task, owner="test")

    task = publishers.looker.task(connect)
    look()
    publishers.publish(50, partitioner="consistent_random")
    look()
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind, subject, status FROM reward_alerts")
        assert cursor.fetchall() == [("OPS-09", SESSION_ATTENDANCE, "firing")]
        cursor.execute("SELECT outcome FROM scheduled_runs WHERE task = 'partitioning'")
        assert cursor.fetchall() == [({"wrong": [SESSION_ATTENDANCE]},)]
