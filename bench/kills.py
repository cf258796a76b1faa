"""A whole season under `kill -9`: workers die at random until everything is recorded, then every row is compared."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from typing import Final

import psycopg2
from confluent_kafka import Producer

from bench.errors import BenchFailed
from bench.run import Run
from bench.stand import Stand
from bench.workers import GROUP, WORKER
from ops.embedded.child import Child
from ops.season import SeasonLine, SeasonSpec, generate_season
from ops.verify import verify

WORKERS: Final = 2
KILL_EVERY_SECONDS: Final = 5.0
GIVE_UP_SECONDS: Final = 1_800.0
LOOK_SECONDS: Final = 0.25
FLUSH_SECONDS: Final = 60.0
EVENTS_PER_USER: Final = 10
TAKERS_PER_TOURNAMENT: Final = 20
TAKERS_PER_SESSION: Final = 15
LAG = """
SELECT count(*), coalesce(sum(end_offset - next_offset), 0), coalesce(sum(next_offset), 0)
FROM partition_positions WHERE consumer_group = %s
"""


def measure_kills(run: Run) -> dict[str, object]:
    """A season of so many events (5 % duplicates, 2 % corrections, 1 % poison), two workers, one killed every 5 s."""
    stand = run.stand
    with stand.database() as url, stand.topics() as prefix:
        published = publish_season(stand, prefix, season_of(run.events))
        began = time.monotonic()
        kills = kill_until_recorded(stand, url, prefix, published, every_seconds=KILL_EVERY_SECONDS)
        seconds = time.monotonic() - began
        report = verify(url, stand.kafka(), group=GROUP, prefix=prefix)
    return {
        "kills": {
            "events": published,
            "kills": kills,
            "seconds": round(seconds, 1),
            "compared": sum(report.compared.values()),
            "differences": len(report.differences),
        }
    }


def season_of(events: int) -> Iterator[SeasonLine]:
    """A season that comes to about so many records, half results and half attendance."""
    return generate_season(
        SeasonSpec(
            users=max(events // EVENTS_PER_USER, 50),
            tournaments=max(events // 2 // TAKERS_PER_TOURNAMENT, 1),
            sessions=max(events // 2 // TAKERS_PER_SESSION, 1),
            duplicates=0.05,
            corrections=0.02,
            poison=0.01,
        )
    )


def publish_season(stand: Stand, prefix: str, lines: Iterator[SeasonLine]) -> int:
    """Publish a season as it comes; how many records that were."""
    producer = Producer(stand.kafka(enable_idempotence=True, linger_ms=20, partitioner="murmur2_random"))
    published = 0
    for line in lines:
        while True:
            try:
                producer.produce(prefix + line.topic, line.value, line.key)
                break
            except BufferError:
                producer.poll(0.1)
        published += 1
    if producer.flush(FLUSH_SECONDS):
        raise BenchFailed("Kafka did not take the season")
    return published


def kill_until_recorded(
    stand: Stand,
    url: str,
    prefix: str,
    published: int,
    *,
    every_seconds: float,
    then: Callable[[], None] = lambda: None,
    **settings: object,
) -> int:
    """Kill one worker after the other and start another in its place, until all is recorded; how many were killed.

    What comes `then` has those that are left at work.
    """
    rng = random.Random(9)
    kills = 0
    deadline = time.monotonic() + GIVE_UP_SECONDS
    with ExitStack() as stack, closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def start(number: int) -> Child:
            name = f"worker-{number}"
            return stack.enter_context(
                stand.process(name, WORKER, database=url, prefix=prefix, group=GROUP, **settings)
            )

        numbers = count(WORKERS)
        working = [start(number) for number in range(WORKERS)]
        kill_at = time.monotonic() + 2 * every_seconds
        while not _is_recorded(cursor, published):
            if time.monotonic() > deadline:
                message = f"not everything was recorded within {GIVE_UP_SECONDS:.0f} s and {kills} kills"
                raise BenchFailed(message)
            if time.monotonic() > kill_at:
                victim = rng.randrange(WORKERS)
                os.kill(working[victim].pid, signal.SIGKILL)
                kills += 1
                working[victim] = start(next(numbers))
                kill_at = time.monotonic() + every_seconds
            time.sleep(LOOK_SECONDS)
        then()
    return kills


def _is_recorded(cursor: psycopg2.extensions.cursor, published: int) -> bool:
    cursor.execute(LAG, (GROUP,))
    partitions, lag, read = cursor.fetchone() or (0, 0, 0)
    return bool(partitions and lag == 0 and read == published)
