"""A test's own topics on the run's broker, and what stands on them."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 3
DEADLINE_SECONDS = 90.0
YOUNG = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
"""What is said of a topic that was just made."""


class Stored(NamedTuple):
    """A record as the broker has it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def create_topics(bootstrap_servers: str, topics: Iterable[str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        created.result(DEADLINE_SECONDS)


def stored(bootstrap_servers: str, topics: Iterable[str]) -> list[Stored]:
    """Every record of the topics, in offset order per partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(topic, number, 0) for topic in topics for number in range(PARTITIONS)]
        expected = sum(end_of(consumer, each) for each in partitions)
        consumer.assign(partitions)
        found: list[Stored] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(found) < expected:
            assert time.monotonic() < deadline, "waited in vain"
            message = consumer.poll(1)
            if message is not None:
                found.append(_stored(message))
        return found
    finally:
        consumer.close()


def end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """The partition's end; a topic just made may not be known everywhere yet, nor have its leader."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, 5)[1])
        except KafkaException as error:
            if error.args[0].code() not in YOUNG or time.monotonic() > deadline:
                raise


def _stored(message: Message) -> Stored:
    assert message.error() is None
    return Stored(message.topic(), message.partition(), message.key(), message.value(), dict(message.headers() or []))


def java_partition(key: bytes, partitions: int = PARTITIONS) -> int:
    """Where Java's default partitioner puts `key`: murmur2, written down from its definition."""
    mask = 0xFFFFFFFF
    mixed = (0x9747B28C ^ len(key)) & mask
    whole = len(key) - len(key) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * 0x5BD1E995 & mask
        word = (word ^ word >> 24) * 0x5BD1E995 & mask
        mixed = (mixed * 0x5BD1E995 & mask) ^ word
    if len(key) > whole:
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * 0x5BD1E995 & mask
    mixed = (mixed ^ mixed >> 13) * 0x5BD1E995 & mask
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions
