"""Watches how far a consumer group's positions have come, from outside, by reading what is committed."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import psycopg2
from psycopg2.extensions import cursor as Cursor

from bench.errors import BenchFailed
from ops.embedded.child import Child

LOOK_SECONDS: Final = 0.02
STALLED_SECONDS: Final = 90.0
SETTLE_SECONDS: Final = 1.0

POSITIONS: Final = "SELECT topic, partition, next_offset FROM partition_positions WHERE consumer_group = %s"
HELD: Final = "SELECT count(owner), count(DISTINCT owner) FROM partition_positions WHERE consumer_group = %s"

Look = Callable[[Cursor], int]
"""How many events are committed by now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """When the first and the last commit were seen, on the monotonic clock, and how many events each came to."""

    first_at: float
    first: int
    last_at: float
    last: int

    def per_second(self, started_at: float | None = None) -> float:
        """Events a second since `started_at`; without it, those after the first commit, from there to the last."""
        if started_at is not None:
            return self.last / (self.last_at - started_at)
        if self.last == self.first:
            message = f"all {self.last} events came in one commit, which is nothing to time: give --events more"
            raise BenchFailed(message)
        return (self.last - self.first) / (self.last_at - self.first_at)


def recorded_of(group: str, counts: Mapping[tuple[str, int], int]) -> Look:
    """Looks at the positions of `group`; a position may stand beyond the last record, past a transaction's marker."""

    def look(cursor: Cursor) -> int:
        cursor.execute(POSITIONS, (group,))
        return sum(min(offset, counts.get((topic, partition), 0)) for topic, partition, offset in cursor)

    return look


def watch(
    url: str,
    look: Look,
    target: int,
    children: Collection[Child],
    *,
    on_look: Callable[[], None] = lambda: None,
) -> Progress:
    """Look again and again until `target` events are committed; gives up when nothing moves or a process ended."""
    first: tuple[float, int] | None = None
    value, at = 0, time.monotonic()
    with closing(psycopg2.connect(url, application_name="bench")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while value < target:
            now_value, now = look(cursor), time.monotonic()
            if now_value > value:
                value, at = now_value, now
                first = first or (at, value)
            check(children)
            if now - at > STALLED_SECONDS:
                raise BenchFailed(f"nothing moved for {STALLED_SECONDS:.0f} s at {value} of {target} events")
            on_look()
            time.sleep(LOOK_SECONDS)
    first = first or (at, value)
    return Progress(*first, at, value)


def wait_until_held(url: str, group: str, partitions: int, workers: Collection[Child]) -> None:
    """Wait until the workers hold all partitions between them, each some."""
    deadline = time.monotonic() + STALLED_SECONDS
    with closing(psycopg2.connect(url, application_name="bench")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        held: object = None
        while held != (partitions, len(workers)):
            cursor.execute(HELD, (group,))
            held = cursor.fetchone()
            check(workers)
            if time.monotonic() > deadline:
                raise BenchFailed(f"{len(workers)} workers do not come to hold all {partitions} partitions: {held}")
            time.sleep(LOOK_SECONDS)
    # What is claimed is still to be sought and asked for.
    time.sleep(SETTLE_SECONDS)


def check(children: Collection[Child]) -> None:
    """Refuse to wait for a process that has ended."""
    for child in children:
        code = child.exit_code()
        if code is not None:
            raise BenchFailed(f"{child.name} ended with {code}: {child.last_words()}")
