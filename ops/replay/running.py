"""Runs a replay: in parallel by partition, throttled, each batch with its checkpoint, until done, halted or stopped."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from threading import Event, Lock
from typing import Final

from msgspec import structs

from ops.replay.reading import Deliveries, RangeReader, in_order
from ops.replay.request import Part, Request
from schemas.settings import Settings
from sinks.batch import Batch, Checkpoint, Delivery, Recorded, RuleChange
from sinks.database import Connect, connector
from sinks.ledger import Identity, Ledger
from streams import rules

AT_ONCE: Final = 2_000
"""Records of a batch: as many as are locked, and lost to a kill, at once."""

Advanced = Callable[[int], None]


class Throttle:
    """Holds all threads together to `rate` records a second."""

    def __init__(self, rate: int | None, stopped: Event) -> None:
        self.at_once = AT_ONCE if rate is None else max(1, min(AT_ONCE, rate))
        self._rate = rate
        self._stopped = stopped
        self._lock = Lock()
        self._free_at = time.monotonic()

    def wait_for(self, records: int) -> None:
        """Wait until `records` more may be recorded, or the replay is stopped."""
        if self._rate is None:
            return
        with self._lock:
            turn = max(self._free_at, time.monotonic())
            self._free_at = turn + records / self._rate
        self._stopped.wait(max(0.0, turn - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Running:
    """What every thread of a replay needs."""

    run_id: str
    request: Request
    settings: Settings
    specializations: Collection[str]
    throttle: Throttle
    stopped: Event
    advanced: Advanced
    rule_change: RuleChange | None


def remaining(parts: Iterable[Part], checkpoints: dict[str, int]) -> list[Part]:
    """What is left of `parts` from the checkpoints on."""
    left = [structs.replace(part, start=max(part.start, checkpoints.get(part.name, part.start))) for part in parts]
    return [part for part in left if part.start < part.end]


def run_parts(
    settings: Settings,
    request: Request,
    parts: Sequence[Part],
    *,
    run_id: str,
    specializations: Collection[str],
    advanced: Advanced,
    rule_change: RuleChange | None = None,
) -> Recorded:
    """Record all of `parts`. Raises `ReplayHalted` when somebody paused the run; an interrupt ends it after a batch."""
    stopped = Event()
    throttle = Throttle(request.rate, stopped)
    running = Running(run_id, request, settings, specializations, throttle, stopped, advanced, rule_change)
    connect = connector(settings.database_url, name="laurels-replay")
    total = Recorded()
    lanes = list(_lanes(parts, request.parallel))
    with ThreadPoolExecutor(max(1, len(lanes)), thread_name_prefix="replay") as pool:
        futures = [pool.submit(_run_lane, running, connect, lane) for lane in lanes]
        try:
            for future in as_completed(futures):
                total += future.result()
        finally:
            stopped.set()
    return total


def _lanes(parts: Iterable[Part], parallel: int) -> Iterator[list[Part]]:
    """Shares of the partitions. A user's events are in equally numbered partitions, which stay together, in order."""
    lanes: dict[int, list[Part]] = {}
    for part in parts:
        lanes.setdefault(part.partition % parallel, []).append(part)
    yield from lanes.values()


def _run_lane(running: Running, connect: Connect, parts: Sequence[Part]) -> Recorded:
    total = Recorded()
    deliveries = Deliveries(running.request, running.specializations)
    reader = RangeReader(running.settings, parts)
    identity = Identity(running.settings.group, f"replay-{running.run_id}")
    with closing(reader), closing(Ledger(connect, rules, identity)) as ledger:
        records = in_order(reader, parts)
        while not running.stopped.is_set() and (read := list(islice(records, running.throttle.at_once))):
            running.throttle.wait_for(len(read))
            if running.stopped.is_set():
                break
            offsets = {f"{record.topic}/{record.partition}": record.offset + 1 for record, _ in read}
            made = [deliveries.make(record, headers) for record, headers in read]
            batch: list[Delivery] = [delivery for delivery in made if delivery is not None]
            checkpoint = Checkpoint(running.run_id, offsets)
            recorded = ledger.record(
                Batch(batch, origin="replay", checkpoint=checkpoint, rule_change=running.rule_change)
            )
            total += _counts(recorded)
            running.advanced(len(read))
        if not running.stopped.is_set():
            ends = {part.name: part.end for part in parts}
            ledger.record(Batch([], origin="replay", checkpoint=Checkpoint(running.run_id, ends)))
    return total


def _counts(recorded: Recorded) -> Recorded:
    """The counts alone: a replay of millions keeps no decision."""
    return replace(recorded, decisions=())
