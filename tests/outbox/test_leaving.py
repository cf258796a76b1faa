"""How a relay leaves: what is in flight counts if it arrives in time, and what a lost connection leaves is not sent."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import psycopg2
import pytest
from confluent_kafka import KafkaError
from msgspec import Raw
from psycopg2.extensions import connection as Connection

from sinks import outbox
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
        self._answers: list[Callable[[KafkaError | None, None], None]] = []
        self.sent = 0
        self.polls = 0

    def produce(self, *_record: object, on_delivery: Callable[[KafkaError | None, None], None], **_: object) -> None:
        self._answers.append(on_delivery)

    def poll(self, _seconds: float) -> int:
        self.polls += 1
        if self._answers:
            self._on_poll()
        assert self.polls < PATIENCE, "it waits for ever"
        return 0

    def flush(self, _seconds: float) -> int:
        answers, self._answers = self._answers, []
        self.sent += len(answers)
        for answer in answers:
            answer(None, None)
        return 0

    def purge(self, **_: object) -> None:
        answers, self._answers = self._answers, []
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
