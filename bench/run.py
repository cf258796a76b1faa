"""One run of the benchmarks: where, with which events, and how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.stand import Stand
from bench.workload import Record, make_workload


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every measure is given. `events` is how many events it is taken with."""

    stand: Stand
    events: int
    memory_events: int
    preload_rows: int = 0

    @cached_property
    def records(self) -> Sequence[Record]:
        """So many events, the same bytes for every measure; made when the first one asks."""
        return list(make_workload(self.events))
