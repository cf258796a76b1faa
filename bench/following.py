"""`laurels reconcile --follow` beside the workers."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg2
from confluent_kafka import Consumer, ConsumerGroupState, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg2.extensions import connection as Connection

from bench.errors import BenchFailed
from bench.stand import Stand
from bench.watching import check
from bench.workers import GROUP
from bench.workload import PARTITIONS
from ops.embedded.child import Child
from schemas.events import REWARD_ENTRIES

RECONCILER: Final = ("-m", "ops.cli", "reconcile", "--follow")
READERS: Final = f"{GROUP}-reconcile"
START_SECONDS: Final = 60.0
FOLLOW_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.2


@contextmanager
def following(stand: Stand, url: str, prefix: str, **settings: object) -> Iterator[Child]:
    """Have whoever the workers record for checked, from now on; it reads already when the block begins."""
    with stand.process("reconcile", RECONCILER, database=url, prefix=prefix, group=GROUP, **settings) as child:
        admin = AdminClient(stand.kafka())
        deadline = time.monotonic() + START_SECONDS
        while not _reads(admin, prefix):
            check([child])
            if time.monotonic() > deadline:
                raise BenchFailed(f"nobody reads what is recorded after {START_SECONDS:.0f} s: {child.last_words()}")
            time.sleep(LOOK_SECONDS)
        yield child


def wait_until_followed(stand: Stand, url: str, prefix: str, child: Child) -> None:
    """Wait until whoever was recorded for so far is checked."""
    client = stand.kafka(group_id=READERS, enable_auto_commit=False)
    partitions = [TopicPartition(prefix + REWARD_ENTRIES, number) for number in range(PARTITIONS)]
    deadline = time.monotonic() + FOLLOW_SECONDS
    with closing(Consumer(client)) as consumer, closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        while not (_is_relayed(connection) and _is_read(consumer, partitions)):
            check([child])
            if time.monotonic() > deadline:
                raise BenchFailed(f"not everybody was checked after {FOLLOW_SECONDS:.0f} s: {child.last_words()}")
            time.sleep(LOOK_SECONDS)


def _is_relayed(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM outbox)")
        return cursor.fetchone() == (True,)


def _is_read(consumer: Consumer, partitions: list[TopicPartition]) -> bool:
    """Whether all was acknowledged; where nothing ever was, there is nothing."""
    committed = [where.offset for where in consumer.committed(partitions, timeout=START_SECONDS)]
    ends = [consumer.get_watermark_offsets(where, timeout=START_SECONDS)[1] for where in partitions]
    return all(offset == end or not end for offset, end in zip(committed, ends, strict=True))


def _reads(admin: AdminClient, prefix: str) -> bool:
    described = admin.describe_consumer_groups([READERS])[READERS].result(START_SECONDS)
    assigned = [partition for member in described.members for partition in member.assignment.topic_partitions]
    ours = [partition for partition in assigned if partition.topic.startswith(prefix)]
    return described.state is ConsumerGroupState.STABLE and len(ours) == PARTITIONS
