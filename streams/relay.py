"""The relay: outbox -> Kafka, in order per user, each row forgotten only once all of its messages are acknowledged.

One relay at a time serves a lane: the one that holds its advisory lock in Postgres. The lock belongs to the connection
that also reads and deletes, so that whoever loses the one loses the other, and another relay takes over. Killed at any
point, a relay leaves rows whose messages were sent already: they are sent again, with the same ids.

Order: a lane's rows are sent in the order of their ids, by an idempotent producer that never gives up on a message by
itself. A message that the broker refuses stops its lane; everything from that row on is sent again, in order.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import psycopg2
import structlog
from confluent_kafka import KafkaException, Producer
from psycopg2.extensions import cursor as Cursor

from schemas.errors import MustStop
from sinks import outbox
from sinks.database import Connect, Verdict, classify
from sinks.dead_letters import fetch_dead_letters
from sinks.failpoints import failpoint
from sinks.outbox import LANES, OutboxMessage, OutboxRow
from streams.backoff import Backoff
from streams.in_flight import SentLane, SentRow
from streams.outgoing import Outgoing, outgoing

LOCK_CLASS: Final = 0x1A07E15
"""The first of the two numbers of the advisory locks; the second one is the lane."""

IDLE_SECONDS: Final = 0.02
STANDBY_SECONDS: Final = 0.5
MAX_ROWS_IN_FLIGHT: Final = 256
MAX_MESSAGES_IN_FLIGHT: Final = 10_000
ROWS_AT_ONCE: Final = 8
LETTERS_AT_ONCE: Final = 50
FLUSH_SECONDS: Final = 2.0

PRODUCER_SETTINGS: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 2,
    "compression.type": "lz4",
    # A message that gave up on its own would be overtaken by those behind it.
    "message.timeout.ms": 0,
    "queue.buffering.max.kbytes": 65_536,
}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class RelayCounts:
    """What a relay has done since it started, for metrics; read from any thread."""

    delivered: int = 0
    refused: int = 0
    lanes: int = 0


class Relay:
    """Relays in a thread of its own, from `start` until `stop`.

    An outage of Postgres or Kafka is waited for. `failure` is what it may not pass over, and ended it.
    """

    def __init__(self, connect: Connect, producer_settings: Mapping[str, Any], *, topic_prefix: str = "") -> None:
        self._connect = connect
        self._topic_prefix = topic_prefix
        self._settings = {**PRODUCER_SETTINGS, **producer_settings}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        self.counts = RelayCounts()

    def start(self) -> None:
        """Begin. Returns at once."""
        self._thread = threading.Thread(target=self._run_safely, name="relay", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Finish what is in flight, within bounds, and give the lanes back."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def run(self) -> None:
        """Relay in this thread until another one calls `stop`. Raises what it may not pass over."""
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                with closing(self._connect()) as connection:
                    connection.set_session(autocommit=True)
                    with connection.cursor() as cursor:
                        producer = Producer(self._settings)
                        term = _Term(cursor, producer, self._topic_prefix, self.counts, self._stopping)
                        term.serve(backoff.reset)
            except psycopg2.Error as error:
                if classify(error) is not Verdict.RETRY:
                    message = f"the outbox cannot be read (SQLSTATE {error.pgcode}): {error}"
                    raise MustStop(message) from error
                log.warning("relay waits for Postgres", error=str(error))
            except KafkaException as error:
                log.warning("relay starts a new producer", error=str(error))
            self._stopping.wait(backoff.next_seconds())

    def _run_safely(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.failure = error
            log.exception("relay ended")


class _Term:
    """A relay's work over one connection, with one producer: it ends when either does."""

    def __init__(
        self, cursor: Cursor, producer: Producer, topic_prefix: str, counts: RelayCounts, stopping: threading.Event
    ) -> None:
        self._cursor = cursor
        self._producer = producer
        self._topic_prefix = topic_prefix
        self._counts = counts
        self._stopping = stopping
        self._lanes: dict[int, SentLane] = {}
        self._standby = Backoff(first=STANDBY_SECONDS, most=STANDBY_SECONDS)
        counts.lanes = 0

    def serve(self, on_progress: Callable[[], None]) -> None:
        """Relay until told to stop. Raises what ended the connection or the producer."""
        try:
            # What is deleted and comes back after a crash of Postgres is a repetition like any other.
            self._cursor.execute("SET synchronous_commit = off")
            while not self._stopping.is_set():
                self._take_lanes()
                taken = self._take_rows()
                self._producer.poll(0 if taken else IDLE_SECONDS)
                if self._collect():
                    on_progress()
            self._producer.flush(FLUSH_SECONDS)
            self._collect()
        finally:
            # Another relay may hold the lanes by now: what was not sent yet is sent by it.
            self._producer.purge(in_queue=True, in_flight=True)
            self._producer.flush(FLUSH_SECONDS)
            self._counts.lanes = 0

    def _take_lanes(self) -> None:
        if len(self._lanes) == LANES or self._standby.waiting():
            return
        self._standby.next_seconds()
        for lane in range(LANES):
            if lane in self._lanes:
                continue
            self._cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, lane))
            if self._cursor.fetchone() == (True,):
                self._lanes[lane] = SentLane()
        self._counts.lanes = len(self._lanes)

    def _take_rows(self) -> bool:
        in_flight = [sent for lane in self._lanes.values() for sent in lane.sent]
        ready = [number for number, lane in self._lanes.items() if lane.ready()]
        room = MAX_ROWS_IN_FLIGHT - len(in_flight)
        if not ready or room <= 0 or sum(sent.waiting for sent in in_flight) >= MAX_MESSAGES_IN_FLIGHT:
            self._notice_lost_connection()
            return False
        taken = [sent.row.id for sent in in_flight]
        rows = outbox.take(self._cursor, ready, min(room, ROWS_AT_ONCE), taken)
        for row in rows:
            if self._lanes[row.lane].ready():
                self._send(row)
        return bool(rows)

    def _send(self, row: OutboxRow) -> None:
        failpoint("relay_before_sending")
        sent = SentRow(row)
        self._lanes[row.lane].sent.append(sent)
        for record in chain.from_iterable(map(self._records, _some_at_once(row.messages))):
            self._produce(record, sent)
        failpoint("relay_after_sending")

    def _records(self, messages: Sequence[OutboxMessage]) -> list[Outgoing]:
        ids = [message.dead_letter for message in messages if message.dead_letter is not None]
        letters = fetch_dead_letters(self._cursor, ids) if ids else {}
        return [outgoing(message, letters, self._topic_prefix) for message in messages]

    def _produce(self, record: Outgoing, sent: SentRow) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    on_delivery=sent.answered,
                )
            except BufferError:
                self._notice_lost_connection()
                self._producer.poll(IDLE_SECONDS)
            except KafkaException as error:
                sent.answered(error.args[0], None)
                return
            else:
                return

    def _notice_lost_connection(self) -> None:
        """Without it the lanes are somebody else's, and what waits here must not be sent any more."""
        self._cursor.execute("SELECT 1")

    def _collect(self) -> bool:
        delivered = [row for lane in self._lanes.values() for row in lane.settle()]
        if delivered:
            failpoint("relay_before_deleting")
            outbox.delete(self._cursor, [row.id for row in delivered])
            failpoint("relay_after_deleting")
            self._counts.delivered += sum(len(row.messages) for row in delivered)
        for number, lane in self._lanes.items():
            error = lane.refusal()
            if error is None:
                continue
            if error.fatal():
                raise KafkaException(error)
            self._counts.refused += 1
            pause = lane.begin_again()
            log.error("relay stops a lane", lane=number, error=error.str(), again_in_seconds=round(pause, 1))
        return bool(delivered)


def _some_at_once(messages: Sequence[OutboxMessage]) -> list[Sequence[OutboxMessage]]:
    """Dead letters carry their bytes, so only so many are read at a time."""
    return [messages[start : start + LETTERS_AT_ONCE] for start in range(0, len(messages), LETTERS_AT_ONCE)]
