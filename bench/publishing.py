"""Publishes at a steady rate, whatever becomes of who reads."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Producer

from bench.errors import BenchFailed
from bench.workload import Record

PACE: Final = 0.95
FLUSH_SECONDS: Final = 30.0

Where = tuple[str, int]


class Publisher:
    """Publishes at a steady rate, and remembers when it published what."""

    def __init__(self, settings: dict[str, Any], prefix: str, rate: int) -> None:
        self._producer = Producer(settings)
        self._prefix = prefix
        self._rate = rate
        self._ends: dict[Where, int] = {}
        self.sent: dict[tuple[str, int, int], float] = {}

    def publish(self, records: Iterable[Record]) -> None:
        """Publish one record after the other, each when its time has come. Refuses to have fallen behind."""
        began = time.monotonic()
        published = 0
        for published, record in enumerate(records, 1):
            due = began + (published - 1) / self._rate
            self._producer.poll(0)
            while (early := due - time.monotonic()) > 0:
                time.sleep(min(early, 0.001))
                self._producer.poll(0)
            self._produce(record)
        taken = time.monotonic() - began
        if self._producer.flush(FLUSH_SECONDS):
            raise BenchFailed("Kafka did not take the records")
        if taken * self._rate * PACE > published:
            message = f"the publisher kept up {published / taken:.0f} events/s of {self._rate}: the machine is too busy"
            raise BenchFailed(message)

    def counts(self) -> Mapping[Where, int]:
        """How many records stand in each partition."""
        return self._ends

    def _produce(self, record: Record) -> None:
        at = time.monotonic()

        def delivered(error: object, message: Any) -> None:
            if error is None:
                self.sent[record.topic, record.partition, message.offset()] = at
                self._ends[record.topic, record.partition] = message.offset() + 1

        self._producer.produce(
            self._prefix + record.topic, record.value, record.key, record.partition, on_delivery=delivered
        )
