"""From publishing an event to its commit, at a steady rate that is far below what a worker can do."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import psycopg2

from bench.publishing import Publisher, Where
from bench.run import Run
from bench.watching import POSITIONS, recorded_of, wait_until_held, watch
from bench.workers import GROUP, HELD, workers

RATES: Final = (500, 2_000)
SECONDS: Final = 20.0
WARM_UP_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.004
"""An event counts as committed when another session sees it, so what is measured is too long by up to so much."""


def measure_latency(run: Run) -> dict[str, object]:
    """Milliseconds from the producer's call to the commit that another session sees, one worker."""
    return {"latency_ms": {str(rate): _latency_at(run, rate) for rate in RATES}}


def _latency_at(run: Run, rate: int) -> dict[str, float]:
    warm_up = min(int(rate * WARM_UP_SECONDS), len(run.records) // 4)
    measured = run.records[warm_up : warm_up + int(rate * SECONDS)]
    with run.stand.database() as url, run.stand.topics() as prefix, workers(run.stand, url, prefix) as working:
        wait_until_held(url, GROUP, HELD, working)
        publisher = Publisher(run.stand.kafka(enable_idempotence=True), prefix, rate)
        publisher.publish(run.records[:warm_up])
        watch(url, recorded_of(GROUP, publisher.counts()), warm_up, working)
        publisher.sent.clear()
        commits = _Commits(url)
        with closing(commits):
            publisher.publish(measured)
            watch(url, recorded_of(GROUP, publisher.counts()), warm_up + len(measured), working)
        return quantiles(sorted(commits.latencies(publisher.sent)))


class _Commits:
    """Looks at the positions all the time, in a thread, and notes when each was first seen where."""

    def __init__(self, url: str) -> None:
        # Here, not in the thread: what is committed before it looks for the first time would count as seen late.
        self._connection = psycopg2.connect(url, application_name="bench")
        self._connection.autocommit = True
        self._seen: dict[Where, list[tuple[int, float]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def latencies(self, sent: dict[tuple[str, int, int], float]) -> list[float]:
        """Milliseconds of every record that was sent."""
        by_partition: dict[Where, list[tuple[int, float]]] = {}
        for (topic, partition, offset), at in sent.items():
            by_partition.setdefault((topic, partition), []).append((offset, at))
        found = []
        for where, records in by_partition.items():
            commits = iter(self._seen[where])
            next_offset, seen_at = next(commits)
            for offset, at in sorted(records):
                while next_offset <= offset:
                    next_offset, seen_at = next(commits)
                found.append((seen_at - at) * 1000)
        return found

    def _look(self) -> None:
        with self._connection.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute(POSITIONS, (GROUP,))
                rows, now = cursor.fetchall(), time.monotonic()
                for topic, partition, next_offset in rows:
                    seen = self._seen.setdefault((topic, partition), [])
                    if not seen or seen[-1][0] < next_offset:
                        seen.append((next_offset, now))
                time.sleep(LOOK_SECONDS)


def quantiles(sorted_ms: Sequence[float]) -> dict[str, float]:
    """The median, the 99th percentile and the longest of some milliseconds."""
    last = len(sorted_ms) - 1
    return {
        "p50": round(sorted_ms[int(last * 0.5)], 1),
        "p99": round(sorted_ms[int(last * 0.99)], 1),
        "max": round(sorted_ms[last], 1),
    }
