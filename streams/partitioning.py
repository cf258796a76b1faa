"""Whether publishers put records where murmur2 of the key says: a sample of each log's newest records, now and then.

Only what came between two looks that found the same number of partitions is judged: records from before partitions were
added lie where they belonged then.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.alerts import AlertSeen
from schemas.errors import LaurelsError
from schemas.events import EVENT_TOPICS
from sinks.alerts import raise_alerts
from sinks.database import Connect, transaction
from streams.logs import Logs
from streams.schedule import Task

SAMPLE: Final = 10
"""So many of a partition's newest records are looked at."""
EVERY_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0


def partition_of(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts `key`."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class Partitioning:
    """Looks at the topics of events, each time at what came since it last looked."""

    def __init__(self, client_settings: Mapping[str, Any], *, prefix: str = "") -> None:
        self._settings = {
            **client_settings,
            "group.id": "laurels-looks",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
        self._prefix = prefix
        self._logs = Logs(client_settings, prefix=prefix)
        self._ends: dict[str, dict[int, int]] = {}

    def task(self, connect: Connect) -> Task:
        """Look now and then, and raise an alert for each topic with records that lie elsewhere or have no key."""

        def run() -> dict[str, Any]:
            found = list(self.look())
            with transaction(connect) as cursor:
                raise_alerts(cursor, found)
            return {"wrong": [seen.subject for seen in found]}

        return Task("partitioning", EVERY_SECONDS, run)

    def look(self) -> Iterator[AlertSeen]:
        """What is wrong with the newest records, per topic."""
        before, self._ends = self._ends, self._ends_now()
        for topic, ends in self._ends.items():
            earlier = before.get(topic, {})
            if earlier.keys() == ends.keys():
                came = {number: range(earlier[number], end) for number, end in ends.items() if end > earlier[number]}
                yield from _judge(topic, self._sample(topic, came), len(ends))

    def _ends_now(self) -> dict[str, dict[int, int]]:
        ends: dict[str, dict[int, int]] = {}
        states = self._logs.states(self._logs.partitions(EVENT_TOPICS))
        for (topic, partition), state in states.items():
            ends.setdefault(topic, {})[partition] = state.end_offset
        return ends

    def _sample(self, topic: str, came: Mapping[int, range]) -> list[Message]:
        if not came:
            return []
        name = self._prefix + topic
        unread = {number: offsets[-SAMPLE:] for number, offsets in came.items()}
        found: list[Message] = []
        with closing(Consumer(self._settings)) as consumer:
            consumer.assign([TopicPartition(name, number, offsets[0]) for number, offsets in unread.items()])
            while unread:
                message = consumer.poll(ANSWER_SECONDS)
                if message is None or not _is_readable(message):
                    raise LaurelsError(f"the newest records of {topic} cannot be read")
                offsets = unread.get(message.partition(), range(0))
                at_end = message.error() is not None
                if not at_end and message.offset() in offsets:
                    found.append(message)
                # Markers and aborted records take offsets, too, and nobody gets to see them. What retention took, or a
                # topic that was made anew does not have, does not come at all.
                if at_end or message.offset() + 1 >= offsets.stop:
                    unread.pop(message.partition(), None)
        return found


def _is_readable(message: Message) -> bool:
    error = message.error()
    return error is None or error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001


def _judge(topic: str, sample: Sequence[Message], partitions: int) -> Iterator[AlertSeen]:
    keyless = [message for message in sample if message.key() is None]
    astray = [
        (message, belongs)
        for message in sample
        if message.key() is not None and (belongs := partition_of(message.key(), partitions)) != message.partition()
    ]
    found = []
    if astray:
        message, belongs = astray[0]
        where = f"offset {message.offset()} of partition {message.partition()} belongs on partition {belongs}"
        found.append(f"{len(astray)} of the {len(sample)} newest are elsewhere: the record at {where}")
    if keyless:
        message = keyless[0]
        where = f"offset {message.offset()} of partition {message.partition()}"
        found.append(f"{len(keyless)} of the {len(sample)} newest have no key: the record at {where}")
    if found:
        yield AlertSeen(
            kind="OPS-09",
            subject=topic,
            expected=f"records where murmur2 of their key says, of {partitions} partitions",
            found="; ".join(found),
            labels={"topic": topic},
        )
