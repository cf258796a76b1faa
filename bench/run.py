"""One run of the benchmarks: where, with which events, and how many."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.stand import Stand
from bench.workload import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What every measure is given. `records` are the same bytes for all of them."""

    stand: Stand
    records: Sequence[Record]
    memory_events: int
    preload_rows: int = 0
