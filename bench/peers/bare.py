"""The bare peer: a confluent-kafka consumer on the same ledger processes, with the same batches, without Faust.

It has the fence and the ledger's transaction, and nothing else of a worker: no rebalance, no outage, no dead-letter limit.
"""

import queue
import threading
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from bench.gathering import Gatherer, claim, fetch_specializations
from bench.workload import PARTITIONS, TOPICS
from schemas.errors import LaurelsError
from schemas.settings import Settings, load_settings
from sinks.database import Timeouts, connector
from sinks.ledger import Identity, RetryPolicy
from streams import interpreter
from streams.intake import Gathered
from streams.ledger_process import LedgerProcess, Opening
from streams.logs import Logs

POLL_SECONDS: Final = 0.02
Lane = queue.Queue[Gathered]


def main() -> None:
    """Consume and record until the process is told to stop."""
    interpreter.prepare()
    settings = load_settings()
    connect = connector(settings.database_url, name="bench-bare")
    identity = Identity(settings.group, "bare")
    logs = Logs(settings.librdkafka(), prefix=settings.topic_prefix)
    states = logs.states([(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)])
    held = claim(connect, identity, states)
    specializations = fetch_specializations(connect)
    lanes = settings.ledger_connections
    gatherers = [Gatherer(held, specializations) for _ in range(lanes)]
    # A queue of one: while a batch is being recorded, the next one waits and the one after gathers.
    queues: list[Lane] = [queue.Queue(maxsize=1) for _ in range(lanes)]
    opening = Opening(
        database_url=settings.database_url,
        timeouts=Timeouts(),
        identity=identity,
        retry=RetryPolicy(),
        dead_letters_in_a_row=settings.dead_letter_limit,
    )
    for lane in queues:
        threading.Thread(target=_record, args=(LedgerProcess(opening), lane), daemon=True).start()
    consumer = Consumer({**settings.librdkafka(), "group.id": settings.group, "enable.auto.commit": False})
    consumer.assign(
        [TopicPartition(settings.topic_prefix + t, p, position.next_offset) for (t, p), position in held.items()]
    )
    while True:
        _gather(consumer, settings, gatherers)
        for gatherer, lane in zip(gatherers, queues, strict=True):
            # Natural group commit: what there is goes as soon as the ledger is free, and never waits for more.
            if len(gatherer) >= settings.batch_events:
                lane.put(gatherer.take())
            elif len(gatherer) and lane.unfinished_tasks == 0:
                lane.put_nowait(gatherer.take())


def _gather(consumer: Consumer, settings: Settings, gatherers: list[Gatherer]) -> None:
    for message in consumer.consume(settings.batch_events // 4, POLL_SECONDS):
        if message.error():
            raise LaurelsError(str(message.error()))
        partition: int = message.partition()
        gatherers[partition % len(gatherers)].add(
            message.topic().removeprefix(settings.topic_prefix),
            partition,
            message.offset(),
            message.key(),
            message.value(),
            message.timestamp()[1],
        )


def _record(ledger: LedgerProcess, lane: Lane) -> None:
    while True:
        ledger.record(lane.get())
        lane.task_done()


if __name__ == "__main__":
    main()
