"""`laurels reconcile --follow` beside the workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from bench.errors import BenchFailed
from bench.stand import Stand
from bench.watching import check
from bench.workers import GROUP
from bench.workload import PARTITIONS
from ops.embedded.child import Child

RECONCILER: Final = ("-m", "ops.cli", "reconcile", "--follow")
START_SECONDS: Final = 60.0
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


def _reads(admin: AdminClient, prefix: str) -> bool:
    group = f"{GROUP}-reconcile"
    described = admin.describe_consumer_groups([group])[group].result(START_SECONDS)
    assigned = [partition for member in described.members for partition in member.assignment.topic_partitions]
    ours = [partition for partition in assigned if partition.topic.startswith(prefix)]
    return described.state is ConsumerGroupState.STABLE and len(ours) == PARTITIONS
