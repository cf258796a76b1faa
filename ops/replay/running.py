"""Runs a replay: in parallel by partition, throttled, each batch with its checkpoint, until done, halted or stopped.

Each lane has a thread here that reads, and a ledger in a process of its own, as a worker's ledgers are.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final

from msgspec import structs

from ops.replay.reading import RangeReader, choice, in_order
from ops.replay.request import Part, Request
from schemas.settings import Settings
from sinks.batch import Checkpoint, RuleChange
from sinks.database import Timeouts
from sinks.ledger import Identity, RetryPolicy
from streams.intake import Gathered, Purpose, Record
from streams.ledger_process import LedgerProcess, Opening

AT_ONCE: Final = 2_000
"""Records of a batch: as many as are locked, and lost to a kill, at once."""

BYTES_AT_ONCE: Final = 16 * 1024 * 1024
"""A batch whose values come to so much holds no further record, however few it has."""

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
    """What every lane of a replay needs. `is_chosen` tells the records that are meant."""

    run_id: str
    settings: Settings
    opening: Opening
    specializations: frozenset[str]
    is_chosen: Callable[[Record], bool]
    throttle: Throttle
    stopped: Event
    advanced: Advanced


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
) -> None:
    """Record all of `parts`. Raises `ReplayHalted` when somebody paused the run; an interrupt ends it after a batch."""
    stopped = Event()
    running = Running(
        run_id=run_id,
        settings=settings,
        opening=_opening(settings, request, run_id, rule_change),
        specializations=frozenset(specializations),
        is_chosen=choice(request, specializations),
        throttle=Throttle(request.rate, stopped),
        stopped=stopped,
        advanced=advanced,
    )
    lanes = list(_lanes(parts, request.parallel))
    with ThreadPoolExecutor(max(1, len(lanes)), thread_name_prefix="replay") as pool:
        futures = [pool.submit(_run_lane, running, lane) for lane in lanes]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            stopped.set()


def _opening(settings: Settings, request: Request, run_id: str, rule_change: RuleChange | None) -> Opening:
    return Opening(
        database_url=settings.database_url,
        timeouts=Timeouts(),
        identity=Identity(settings.group, f"replay-{run_id}"),
        retry=RetryPolicy(),
        # As many as there may be: a worker let them pass, or an operator skipped them.
        dead_letters_in_a_row=request.events,
        purpose=Purpose(origin="replay", announce=request.announce, rule_change=rule_change),
        session="laurels replay",
    )


def _lanes(parts: Iterable[Part], parallel: int) -> Iterator[list[Part]]:
    """Shares of the partitions. A user's events are in equally numbered partitions, which stay together, in order."""
    lanes: dict[int, list[Part]] = {}
    for part in parts:
        lanes.setdefault(part.partition % parallel, []).append(part)
    yield from lanes.values()


def _run_lane(running: Running, parts: Sequence[Part]) -> None:
    reader = RangeReader(running.settings, parts)
    with closing(reader), closing(LedgerProcess(running.opening)) as ledger:
        _Lane(running, ledger).run(in_order(reader, parts), {part.name: part.end for part in parts})


class _Lane:
    """Feeds one ledger: while it records a batch, the next one is read."""

    def __init__(self, running: Running, ledger: LedgerProcess) -> None:
        self._running = running
        self._ledger = ledger
        self._under_way = 0

    def run(self, records: Iterator[Record], ends: Mapping[str, int]) -> None:
        """Record `records`, and that all up to `ends` was read, unless the replay is stopped before."""
        stopped, throttle = self._running.stopped, self._running.throttle
        while not stopped.is_set() and (read := _portion(records, throttle.at_once)):
            gathered = self._gather(read)
            self._finish()
            throttle.wait_for(len(read))
            if not stopped.is_set():
                self._ledger.begin(gathered)
                self._under_way = len(read)
        self._finish()
        if not stopped.is_set():
            # Behind the last record there may be offsets that hold none.
            self._ledger.record(self._batch([], ends))

    def _gather(self, read: Sequence[Record]) -> Gathered:
        offsets = {f"{record.topic}/{record.partition}": record.offset + 1 for record in read}
        return self._batch([record for record in read if self._running.is_chosen(record)], offsets)

    def _batch(self, records: Sequence[Record], next_offsets: Mapping[str, int]) -> Gathered:
        checkpoint = Checkpoint(self._running.run_id, next_offsets)
        return Gathered(records, (), self._running.specializations, checkpoint)

    def _finish(self) -> None:
        if self._under_way:
            self._ledger.finish()
            self._running.advanced(self._under_way)
            self._under_way = 0


def _portion(records: Iterator[Record], at_once: int) -> list[Record]:
    """The next records: so many, or as many as one batch has room for."""
    read = []
    size = 0
    for record in records:
        read.append(record)
        size += len(record.value or b"")
        if len(read) == at_once or size >= BYTES_AT_ONCE:
            break
    return read
