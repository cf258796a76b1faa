"""The one producer of the API: a thread that takes what waits, sends it together, and tells each what became of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, Full, Queue
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaException

from api.problems import unavailable
from schemas.client import Publisher, Undelivered
from schemas.cloudevents import MESSAGE_TYPES, cloudevent_headers, message_id
from schemas.events import Event, event_subject, event_time

MOST_WAITING: Final = 1_000
MOST_AT_ONCE: Final = 100
STOP_SECONDS: Final = 15.0
STUCK_SECONDS: Final = 60.0
"""Longer than any wait for the brokers: a thread that is busy with one group for so long hangs."""

log = structlog.get_logger()


class Outgoing(NamedTuple):
    """An event to publish, and the bytes that say it."""

    topic: str
    event: Event
    value: bytes
    source: str


class _Order(NamedTuple):
    records: Sequence[Outgoing]
    answer: "Future[list[str | None]]"


class Outlet:
    """Publishes from any number of requests; each is answered once the brokers have acknowledged what it sent."""

    def __init__(self, open_publisher: Callable[[], Publisher]) -> None:
        self._open_publisher = open_publisher
        self._orders: Queue[_Order | None] = Queue(MOST_WAITING)
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._serve, name="outlet", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def close(self) -> None:
        """Publish what waits, and stop."""
        self._orders.put(None)
        self._thread.join(STOP_SECONDS)

    def alive(self) -> bool:
        """Whether it gets on with its work."""
        since = self._busy_since
        return self._thread.is_alive() and (since is None or time.monotonic() - since < STUCK_SECONDS)

    async def send(self, records: Sequence[Outgoing]) -> list[str | None]:
        """Publish `records`: for each None once it is stored by the brokers, else why it may not be."""
        order = _Order(records, Future())
        try:
            self._orders.put_nowait(order)
        except Full as error:
            raise unavailable("too much waits to be published") from error
        return await asyncio.wrap_future(order.answer)

    def _serve(self) -> None:
        publisher: Publisher | None = None
        while True:
            orders, ended = self._gather()
            if not orders:
                return
            self._busy_since = time.monotonic()
            try:
                publisher = publisher or self._open_publisher()
                self._answer(orders, _publish(publisher, [record for order in orders for record in order.records]))
            except Exception as error:
                # The thread goes on, with a producer of its own again: whoever waits is told that nothing is sure.
                log.exception("publishing failed")
                publisher = None
                for order in orders:
                    if not order.answer.done():
                        order.answer.set_result([str(error)] * len(order.records))
            finally:
                self._busy_since = None
            if ended:
                return

    def _gather(self) -> tuple[list[_Order], bool]:
        """What waits by now, and whether that is the last."""
        first = self._orders.get()
        orders: list[_Order] = []
        while first is not None:
            orders.append(first)
            if len(orders) == MOST_AT_ONCE:
                return orders, False
            try:
                first = self._orders.get_nowait()
            except Empty:
                return orders, False
        return orders, True

    def _answer(self, orders: Sequence[_Order], reasons: Sequence[str | None]) -> None:
        begin = 0
        for order in orders:
            end = begin + len(order.records)
            if not order.answer.cancelled():
                order.answer.set_result(list(reasons[begin:end]))
            begin = end


def _publish(publisher: Publisher, records: Sequence[Outgoing]) -> list[str | None]:
    failed: dict[str, str] = {}
    for number, (topic, event, value, source) in enumerate(records):
        headers = cloudevent_headers(message_id(event), MESSAGE_TYPES[type(event)], source, event_time(event))
        try:
            publisher.send(topic, b"%d" % event_subject(event), value, name=str(number), headers=headers)
        except Undelivered as error:
            failed |= error.events
        except KafkaException as error:
            failed[str(number)] = str(error)
    try:
        publisher.flush()
    except Undelivered as error:
        failed |= error.events
    return [failed.get(str(number)) for number in range(len(records))]
