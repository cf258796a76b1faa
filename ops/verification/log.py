"""Reads the event topics once, each partition at the pace it is asked for, up to where Postgres's positions stand."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from ops.oracle import Record
from ops.verification.share import EVERYBODY, Share
from schemas.errors import LaurelsError
from sinks.positions import LogState
from streams.logs import Logs

Partition = tuple[str, int]

NO_TIMESTAMP: Final = 0
ANSWER_SECONDS: Final = 30.0
"""A broker that does not answer for so long is away, which is not the same as a topic that is gone."""

AT_ONCE: Final = 500
"""As many records are asked for at once: the client waits until it has them all, or a moment has passed."""

HELD_BYTES: Final = 8 * 1024 * 1024
"""As much may wait of all partitions together; then only the one that is asked for is read on."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The offsets of a partition to read: `start` up to but not including `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Readable:
    """A partition whose log is still the one that the position counts in."""

    log_id: str
    stretch: Stretch


class Reader(Protocol):
    """Hands out a partition's records in offset order."""

    def next(self, where: Partition) -> Record | None:
        """The next record; None when none is left."""

    def close(self) -> None:
        """Stop reading."""


class KafkaTopics:
    """The event topics of a cluster. `prefix` stands before their names there."""

    def __init__(self, client_settings: Mapping[str, Any], prefix: str) -> None:
        self._settings = client_settings
        self._prefix = prefix
        self._logs = Logs(client_settings, prefix=prefix, timeout_seconds=ANSWER_SECONDS)

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        """The logs of those of the partitions whose topics exist."""
        if not partitions:
            return {}
        known = AdminClient(dict(self._settings)).list_topics(timeout=ANSWER_SECONDS).topics
        return self._logs.states(
            [
                (topic, partition)
                for topic, partition in partitions
                if self._prefix + topic in known and partition in known[self._prefix + topic].partitions
            ]
        )

    def read(self, stretches: Mapping[Partition, Stretch], share: Share = EVERYBODY) -> "LogReader":
        """A reader of the share's records that stays out of every group."""
        return LogReader(self._settings, stretches, prefix=self._prefix, share=share)


class LogReader:
    """Hands out the committed records of partitions in offset order. Joins no group and commits nothing.

    `prefix` stands before the names of the topics on the cluster. What is of nobody in `share` is passed over.
    """

    def __init__(
        self,
        client_settings: Mapping[str, Any],
        stretches: Mapping[Partition, Stretch],
        *,
        prefix: str = "",
        share: Share = EVERYBODY,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._share = None if share.is_all else share
        self._ends = {where: part.end for where, part in stretches.items()}
        self._prefix = prefix
        self._timeout = timeout_seconds
        self._held: dict[Partition, deque[Record]] = {where: deque() for where in stretches}
        self._open: set[Partition] = {where for where, part in stretches.items() if part.start < part.end}
        self._paused: set[Partition] = set()
        self._held_bytes = 0
        self._names = {prefix + topic: topic for topic, _ in stretches}
        self._consumer = Consumer(
            {
                "fetch.min.bytes": 1,
                # Small portions of each partition in turn: what is asked for is not long behind what is not.
                "max.partition.fetch.bytes": 262_144,
                "queued.min.messages": 5_000,
                "queued.max.messages.kbytes": 4_096,
                # librdkafka looks into a queue that was full only so often: a whole second, if it is not told otherwise.
                "fetch.queue.backoff.ms": 10,
                "fetch.wait.max.ms": 50,
                **client_settings,
                "group.id": "laurels-verify",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "allow.auto.create.topics": False,
            }
        )
        self._consumer.assign([self._at(where, stretches[where].start) for where in sorted(self._open)])

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def next(self, where: Partition) -> Record | None:
        """The partition's next record; None when nothing is left of its stretch."""
        held = self._held[where]
        if not held:
            self._fetch(where)
        if not held:
            return None
        record = held.popleft()
        self._held_bytes -= len(record.value or b"")
        return record

    def _at(self, where: Partition, offset: int | None = None) -> TopicPartition:
        name = self._prefix + where[0]
        return TopicPartition(name, where[1]) if offset is None else TopicPartition(name, where[1], offset)

    def _fetch(self, where: Partition) -> None:
        if where in self._paused:
            self._paused.discard(where)
            self._consumer.resume([self._at(where)])
        deadline = monotonic() + self._timeout
        while not self._held[where] and where in self._open:
            messages = self._consumer.consume(AT_ONCE, 0.1)
            for message in messages:
                self._take(message)
            if messages:
                deadline = monotonic() + self._timeout
                self._pause_others(where)
            elif monotonic() > deadline:
                message = f"{where[0]}[{where[1]}]: the broker sent nothing for {self._timeout:g} s"
                raise LaurelsError(message)

    def _take(self, message: Message) -> None:
        error = message.error()
        where = (self._names[str(message.topic())], int(message.partition() or 0))
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name for it
                raise LaurelsError(f"{where[0]}[{where[1]}] cannot be read: {error}") from KafkaException(error)
            self._finish(where)
            return
        offset = message.offset()
        assert offset is not None
        end = self._ends[where]
        if offset >= end:
            self._finish(where)
            return
        if self._share is None or self._share.takes(message.key()):
            record = self._record(message, where, offset)
            self._held[where].append(record)
            self._held_bytes += len(record.value or b"")
        if offset == end - 1:
            self._finish(where)

    def _record(self, message: Message, where: Partition, offset: int) -> Record:
        kind, timestamp = message.timestamp()
        at = None if kind == NO_TIMESTAMP else timestamp
        return Record(where[0], where[1], offset, message.key(), message.value(), at)

    def _finish(self, where: Partition) -> None:
        if where in self._open:
            self._open.discard(where)
            self._consumer.incremental_unassign([self._at(where)])

    def _pause_others(self, wanted: Partition) -> None:
        if self._held_bytes <= HELD_BYTES:
            return
        full = [where for where in self._open - self._paused - {wanted} if self._held[where]]
        if full:
            self._paused.update(full)
            self._consumer.pause([self._at(where) for where in full])
