"""A crew: ledgers that share what waits to be recorded.

What waits is kept in strands, one for each number of a partition. A strand is with one ledger at a time, so that its
records are committed in their order. Partitions of one number hold the same users on every topic, so ledgers do not wait
for each other's locks either.

A batch costs much the same whether it holds one record or a hundred. So when little waits, one ledger takes all of it,
and when there is more, those that have nothing to do take a share each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from sinks.batch import Claim, Recorded
from streams.intake import Gathered, Record
from streams.ledger_thread import LedgerThread, Records
from streams.tenures import Tenure

WORTH_SHARING: Final = 100
"""Fewer records than this take less time than the rest of a batch does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is taken at once, and what is not put up with."""

    ledgers: int = 1
    batch_events: int = 4_000
    batch_bytes: int = 16 * 1024 * 1024
    dead_letters_in_a_row: int = 1_000


class Outcomes(Protocol):
    """Who hears how batches come out. All of it is called on the event loop.

    `specializations` are those that events may name.
    """

    specializations: frozenset[str]

    def recorded(
        self, gathered: Gathered, claims: Sequence[tuple[Tenure, Claim]], recorded: Recorded, seconds: float
    ) -> None:
        """The batch is committed."""

    def fail(self, error: BaseException) -> None:
        """The batch cannot be recorded, nor anything after it."""

    def settle(self) -> None:
        """Nothing had to be recorded."""


class Strand:
    """What waits of the partitions of one number."""

    def __init__(self) -> None:
        self.records: deque[tuple[Tenure, Record]] = deque()
        self.size = 0
        self.moves: dict[Tenure, None] = {}
        self.taken = False
        """Whether it is a ledger's, or is in the queue to become one's."""

    @property
    def waits(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.records or self.moves)

    def drop(self) -> None:
        """Forget what waits."""
        self.records.clear()
        self.moves.clear()
        self.size = 0


class Share(NamedTuple):
    """What one ledger takes at once, and of which strands."""

    strands: list[Strand]
    gathered: Gathered
    claims: list[tuple[Tenure, Claim]]


class Crew:
    """Gathers records, and has its ledgers record them, batch after batch. All of it runs on the event loop."""

    def __init__(self, open_ledger: Callable[[], Records], bounds: Bounds, outcomes: Outcomes) -> None:
        self._open_ledger = open_ledger
        self._bounds = bounds
        self._outcomes = outcomes
        self._strands: dict[int, Strand] = {}
        self._ready: deque[Strand] = deque()
        self._free = bounds.ledgers
        self._ended = False
        self._work = asyncio.Event()
        self._may_record = asyncio.Event()
        self._may_record.set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being recorded."""
        return not self._ready and self._free == self._bounds.ledgers

    def has_room(self, partition: int) -> bool:
        """Whether more of partitions with this number may come in: no whole batch of theirs waits, nor one per ledger."""
        strand = self._strands.get(partition)
        if strand is None or self._ended:
            return True
        batches = sum(map(self._batches, self._strands.values()))
        return self._batches(strand) < 1 and batches < self._bounds.ledgers

    def add(self, tenure: Tenure, record: Record) -> None:
        """Take a record in."""
        strand = self._strand(tenure.partition)
        strand.records.append((tenure, record))
        strand.size += _size(record)
        self._make_ready(strand)

    def follow(self, tenure: Tenure) -> None:
        """Move an idle partition's position past what is known to be empty."""
        strand = self._strand(tenure.partition)
        strand.moves[tenure] = None
        self._make_ready(strand)

    def hold(self, *, holding: bool) -> None:
        """Begin no batch while `holding`."""
        if holding:
            self._may_record.clear()
        else:
            self._may_record.set()

    def drop(self) -> None:
        """Forget what waits, for good."""
        self._ended = True
        self._ready.clear()
        for strand in self._strands.values():
            strand.drop()

    def start(self) -> None:
        """Begin to record."""
        for number in range(self._bounds.ledgers):
            self._tasks.append(asyncio.create_task(self._work_as(f"ledger-{number}"), name=f"ledger-{number}"))

    async def stop(self) -> None:
        """End, without waiting for batches that are being recorded."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _work_as(self, name: str) -> None:
        try:
            await self._work_with(LedgerThread(name, self._open_ledger()))
        except Exception as error:  # noqa: BLE001  whatever it is ends the worker
            self._outcomes.fail(error)

    async def _work_with(self, thread: LedgerThread) -> None:
        try:
            while not self._ended:
                await self._work.wait()
                await self._may_record.wait()
                if self._ready:
                    await self._record(thread)
                else:
                    self._work.clear()
        finally:
            thread.close()

    async def _record(self, thread: LedgerThread) -> None:
        share = self._take()
        self._free -= 1
        began = time.monotonic()
        try:
            recorded = await thread.record(share.gathered) if share.claims else None
        finally:
            self._free += 1
        if self._ended:
            return
        for strand in share.strands:
            strand.taken = False
            if strand.waits:
                self._make_ready(strand)
        if recorded is None:
            self._outcomes.settle()
        else:
            self._outcomes.recorded(share.gathered, share.claims, recorded, time.monotonic() - began)

    def _take(self) -> Share:
        """The strands that have waited longest, as many as make a share of what waits, up to a whole batch."""
        waiting = sum(len(strand.records) for strand in self._ready)
        enough = min(max(-(-waiting // self._free), WORTH_SHARING), self._bounds.batch_events)
        strands: list[Strand] = []
        records: list[Record] = []
        ends: dict[Tenure, int] = {}
        size = 0
        while self._ready and len(records) < enough and size < self._bounds.batch_bytes:
            strand = self._ready.popleft()
            strands.append(strand)
            ends |= {tenure: tenure.claimed for tenure in strand.moves}
            strand.moves.clear()
            while strand.records and len(records) < self._bounds.batch_events and size < self._bounds.batch_bytes:
                tenure, record = strand.records.popleft()
                ends[tenure] = record.offset + 1
                records.append(record)
                size += _size(record)
                strand.size -= _size(record)
        claims = [(tenure, claim) for tenure, end in ends.items() if (claim := tenure.claim_to(end)) is not None]
        gathered = Gathered(records, [claim for _, claim in claims], self._outcomes.specializations)
        return Share(strands, gathered, claims)

    def _batches(self, strand: Strand) -> float:
        """How much of a batch waits there, at most one: what is more came by one fetch, and keeps nobody else out."""
        bounds = self._bounds
        return min(max(len(strand.records) / bounds.batch_events, strand.size / bounds.batch_bytes), 1)

    def _make_ready(self, strand: Strand) -> None:
        if not strand.taken:
            strand.taken = True
            self._ready.append(strand)
            self._work.set()

    def _strand(self, partition: int) -> Strand:
        strand = self._strands.get(partition)
        if strand is None:
            strand = self._strands[partition] = Strand()
        return strand


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")
