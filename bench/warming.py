"""Warms up a broker that has just been started: until Java has compiled what it does often, it takes more of the cores."""

import time
from itertools import product
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.stand import ADMIN_SECONDS, Stand
from bench.workload import PARTITIONS, TOPICS

SECONDS: Final = 15.0
RECORD: Final = b"x" * 200


def warm_up(stand: Stand) -> None:
    """Publish and fetch small batches for a while, as at a steady rate."""
    with stand.topics() as prefix:
        producer = Producer(stand.kafka(enable_idempotence=True))
        consumer = Consumer(stand.kafka(group_id=prefix, enable_auto_commit=False))
        where = [
            TopicPartition(prefix + topic, partition, 0) for topic, partition in product(TOPICS, range(PARTITIONS))
        ]
        consumer.assign(where)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            for each in where:
                producer.produce(each.topic, RECORD, partition=each.partition)
            producer.poll(0)
            consumer.consume(100, 0.002)
        consumer.close()
        producer.flush(ADMIN_SECONDS)
