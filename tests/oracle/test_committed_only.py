"""Only committed records count: what folds the log again reads what the workers read, and no more."""

from collections.abc import Iterable

from confluent_kafka import Producer

from ops.verification.log import LogReader, Stretch
from tests.ops.broker import create_topics

SECONDS = 40.0


def publish(producer: Producer, topic: str, values: Iterable[bytes]) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, b"1", 0)
    assert producer.flush(SECONDS) == 0


def test_what_a_publisher_took_back_is_not_folded(real_kafka: str, namespace: str) -> None:
    topic = f"{namespace}results"
    create_topics(real_kafka, [topic])
    producer = Producer({"bootstrap.servers": real_kafka, "transactional.id": namespace})
    producer.init_transactions(SECONDS)
    publish(producer, topic, [b"1", b"2"])
    producer.commit_transaction(SECONDS)
    publish(producer, topic, [b"3", b"4"])
    producer.abort_transaction(SECONDS)
    where = ("results", 0)
    reader = LogReader({"bootstrap.servers": real_kafka}, {where: Stretch(0, 5)}, prefix=namespace)
    try:
        read = [record.value for record in iter(lambda: reader.next(where), None)]
    finally:
        reader.close()
    assert read == [b"1", b"2"]
