"""A worker's memory over many events: how much it takes, and whether that grows."""

import re
import time
from pathlib import Path
from statistics import mean
from typing import Final

from bench.errors import BenchFailed
from bench.run import Run
from bench.watching import recorded_of, watch
from bench.workers import GROUP, workers
from bench.workload import make_workload

SAMPLE_SECONDS: Final = 0.5
KIB_PER_MIB: Final = 1024
FEWEST_SAMPLES: Final = 4


def measure_memory(run: Run) -> dict[str, object]:
    """The most memory of one worker with its ledgers and its relay, over many more events; and how much it grew."""
    with run.stand.database() as url, run.stand.topics() as prefix:
        topics = run.stand.fill(prefix, make_workload(run.memory_events))
        with workers(run.stand, url, prefix, relay=True) as working:
            samples: list[float] = []
            due = 0.0

            def sample() -> None:
                nonlocal due
                if time.monotonic() >= due:
                    samples.append(held_mib(working[0].pid))
                    due = time.monotonic() + SAMPLE_SECONDS

            watch(url, recorded_of(GROUP, topics.counts), run.memory_events, working, on_look=sample)
    quarter = len(samples) // 4
    if len(samples) < FEWEST_SAMPLES:
        raise BenchFailed("too few events to see how memory develops: give --events more")
    growth = mean(samples[-quarter:]) - mean(samples[quarter : 2 * quarter])
    return {"worker_rss_mib_max": max(samples), "worker_mib_growth": growth}


def held_mib(pid: int) -> float:
    """The memory that a process and its children hold, what they share counted once."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [child for thread in threads for child in thread.read_text(encoding="ascii").split()]
    return sum(map(_proportional_kib, (str(pid), *children))) / KIB_PER_MIB


def _proportional_kib(pid: str) -> int:
    try:
        counted = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, re.findall(r"^Pss: +(\d+) kB", counted, re.MULTILINE)))
