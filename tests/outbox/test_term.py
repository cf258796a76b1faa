"""A relay's term, with a producer that is slow: what is in flight is bounded, counts if it arrives, and ends with the term."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import psycopg2
import pytest
from confluent_kafka import KafkaError, KafkaException
from msgspec import Raw
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sinks import outbox
from sinks.dead_letters import DeadLetter
from sinks.outbox import OutboxMessage
from streams import relay
from streams.relay import RelayCounts, _Term

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENCE = 1_000
"""Polls without a message: nobody needs so many."""
MESSAGES = [
    (1, OutboxMessage(topic="entries", key="1", id=f"1:{number}", type="test.v1", time=AT, value=Raw(b"{}")))
    for number in range(3)
]


class Queue:
    """A producer that sends only when it is flushed; `on_poll` is what happens to the relay meanwhile."""

    def __init__(self, on_poll: Callable[[], None]) -> None:
        self._on_poll = on_poll
        self.answers: list[Callable[[KafkaError | None, None], None]] = []
        self.sent = 0
        self.polls = 0

    def produce(self, *_record: object, on_delivery: Callable[[KafkaError | None, None], None], **_: object) -> None:
        self.answers.append(on_delivery)

    def poll(self, _seconds: float) -> int:
        self.polls += 1
        if self.answers:
            self._on_poll()
        assert self.polls < PATIENCE, "it waits for ever"
        return 0

    def flush(self, _seconds: float) -> int:
        answers, self.answers = self.answers, []
        self.sent += len(answers)
        for answer in answers:
            answer(None, None)
        return 0

    def purge(self, **_: object) -> None:
        answers, self.answers = self.answers, []
        for answer in answers:
            answer(KafkaError(KafkaError._PURGE_QUEUE), None)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        with connection, connection.cursor() as cursor:
            outbox.write_messages(cursor, MESSAGES)
        connection.autocommit = True
        yield connection


def serve(connection: Connection, producer: Queue, stopping: threading.Event) -> None:
    with connection.cursor() as cursor:
        term = _Term(cursor, cast("Any", producer), "", RelayCounts(), stopping)
        term.serve(lambda: None)


def test_what_arrives_while_a_relay_leaves_is_forgotten(connection: Connection) -> None:
    stopping = threading.Event()
    producer = Queue(on_poll=stopping.set)
    serve(connection, producer, stopping)
    assert producer.sent == len(MESSAGES)
    with connection.cursor() as cursor:
        assert outbox.backlog(cursor) == 0


@pytest.mark.parametrize("room", [1, 2], ids=["no room for more", "room for more"])
def test_without_its_connection_a_relay_ends_and_sends_nothing_more(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """The lanes are another relay's from then on, which sends what is left in its order."""
    monkeypatch.setattr(relay, "MAX_ROWS_IN_FLIGHT", room)
    pid = connection.info.backend_pid

    def cut() -> None:
        with closing(psycopg2.connect(database_url)) as rival, rival, rival.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))

    producer = Queue(on_poll=cut)
    with pytest.raises(psycopg2.Error):
        serve(connection, producer, threading.Event())
    assert producer.sent == 0


def test_only_so_many_messages_are_in_flight(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_MESSAGES_IN_FLIGHT", len(MESSAGES))
    monkeypatch.setattr(relay, "ROWS_AT_ONCE", 1)
    stopping = threading.Event()
    with connection.cursor() as cursor:
        outbox.write_messages(cursor, MESSAGES)
    waiting: list[int] = []

    def look() -> None:
        waiting.append(len(producer.answers))
        if len(waiting) == 5:
            stopping.set()

    producer = Queue(on_poll=look)
    serve(connection, producer, stopping)
    assert waiting == [len(MESSAGES)] * 5


def test_an_error_after_which_the_producer_is_of_no_use_ends_the_term(connection: Connection) -> None:
    def fail() -> None:
        producer.answers.pop()(KafkaError(KafkaError._FENCED, fatal=True), None)

    producer = Queue(on_poll=fail)
    with pytest.raises(KafkaException):
        serve(connection, producer, threading.Event())


def test_dead_letters_are_read_a_few_at_a_time(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def fetch(_cursor: Cursor, ids: Sequence[int]) -> dict[int, DeadLetter]:
        read.append(len(ids))
        return {}

    monkeypatch.setattr(relay, "fetch_dead_letters", fetch)
    monkeypatch.setattr(relay, "LETTERS_AT_ONCE", 2)
    letters = [
        (1, OutboxMessage(topic="dlq", id=f"dead-letter:{number}", type="test.v1", time=AT, dead_letter=number))
        for number in range(1, 6)
    ]
    with connection.cursor() as cursor:
        outbox.write_messages(cursor, letters)
    stopping = threading.Event()
    serve(connection, Queue(on_poll=stopping.set), stopping)
    assert read == [2, 2, 1]
