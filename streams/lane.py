"""A lane: what gathers for one ledger, and the thread that waits for the ledger's answers."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from sinks.batch import Claim, Recorded
from streams.intake import Gathered, Record
from streams.tenures import Tenure


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is taken at once, and what is not put up with."""

    lanes: int = 1
    batch_events: int = 4_000
    batch_bytes: int = 16 * 1024 * 1024
    dead_letters_in_a_row: int = 1_000


class Records(Protocol):
    """What records: a ledger, bound to the thread that uses it."""

    def record(self, gathered: Gathered) -> Recorded:
        """Record what was gathered, blocking until it is committed."""

    def close(self) -> None:
        """Give back what it holds."""


class Outcomes(Protocol):
    """Who hears how a lane's batches come out. All of it is called on the event loop.

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


class LedgerThread:
    """Runs one ledger in a thread of its own, which ends with the process if it must."""

    def __init__(self, name: str, ledger: Records) -> None:
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Gathered, asyncio.Future[Recorded]] | None] = SimpleQueue()
        # A daemon: a ledger that waits for an absent Postgres must not keep a worker from leaving.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def record(self, gathered: Gathered) -> asyncio.Future[Recorded]:
        """Record what was gathered; the future is done when it is committed."""
        future: asyncio.Future[Recorded] = self._loop.create_future()
        self._jobs.put((gathered, future))
        return future

    def close(self) -> None:
        """End once the current batch is through."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            gathered, future = job
            try:
                recorded = self._ledger.record(gathered)
            except BaseException as error:  # noqa: BLE001  whatever it is, the event loop's side must hear of it
                self._answer(future, None, error)
            else:
                self._answer(future, recorded, None)
        self._ledger.close()

    def _answer(self, future: asyncio.Future[Recorded], recorded: Recorded | None, error: BaseException | None) -> None:
        def answer() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif recorded is not None:
                future.set_result(recorded)

        # The loop may be closed by the time a ledger gives up: then nobody waits for the answer.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(answer)


class Lane:
    """Gathers records of some partitions, and has them recorded batch after batch."""

    def __init__(self, number: int, open_ledger: Callable[[], Records], bounds: Bounds, outcomes: Outcomes) -> None:
        self._name = f"ledger-{number}"
        self._open_ledger = open_ledger
        self._bounds = bounds
        self._outcomes = outcomes
        self._pending: deque[tuple[Tenure, Record]] = deque()
        self._pending_bytes = 0
        self._moves: dict[Tenure, None] = {}
        self._recording = False
        self._ended = False
        self._work = asyncio.Event()
        self._may_record = asyncio.Event()
        self._may_record.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits here and nothing is being recorded."""
        return not (self._pending or self._moves or self._recording)

    @property
    def full(self) -> bool:
        """Whether as much waits here as one batch may hold."""
        bounds = self._bounds
        return len(self._pending) >= bounds.batch_events or self._pending_bytes >= bounds.batch_bytes

    def add(self, tenure: Tenure, record: Record) -> None:
        """Take a record in for the next batch."""
        self._pending.append((tenure, record))
        self._pending_bytes += _size(record)
        self._work.set()

    def follow(self, tenure: Tenure) -> None:
        """Move an idle partition's position past what is known to be empty."""
        self._moves[tenure] = None
        self._work.set()

    def hold(self, *, holding: bool) -> None:
        """Begin no batch while `holding`."""
        if holding:
            self._may_record.clear()
        else:
            self._may_record.set()

    def drop(self) -> None:
        """Forget what waits here, for good."""
        self._ended = True
        self._pending.clear()
        self._moves.clear()

    def start(self) -> None:
        """Begin to record."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End, without waiting for a batch that is being recorded."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            await self._record_on(LedgerThread(self._name, self._open_ledger()))
        except Exception as error:  # noqa: BLE001  whatever it is ends the worker
            self._outcomes.fail(error)

    async def _record_on(self, thread: LedgerThread) -> None:
        try:
            while not self._ended:
                await self._work.wait()
                await self._may_record.wait()
                await self._record(thread)
        finally:
            thread.close()

    async def _record(self, thread: LedgerThread) -> None:
        self._work.clear()
        gathered, claims = self._take()
        if not claims:
            self._outcomes.settle()
            return
        began = time.monotonic()
        self._recording = True
        try:
            recorded = await thread.record(gathered)
        finally:
            self._recording = False
        if not self._ended:
            self._outcomes.recorded(gathered, claims, recorded, time.monotonic() - began)

    def _take(self) -> tuple[Gathered, list[tuple[Tenure, Claim]]]:
        """What waits, as much of it as one batch may hold."""
        ends = {tenure: tenure.claimed for tenure in self._moves}
        self._moves.clear()
        records: list[Record] = []
        size = 0
        while self._pending and len(records) < self._bounds.batch_events and size < self._bounds.batch_bytes:
            tenure, record = self._pending.popleft()
            ends[tenure] = record.offset + 1
            records.append(record)
            size += _size(record)
        self._pending_bytes -= size
        if self._pending:
            self._work.set()
        claims = [(tenure, claim) for tenure, end in ends.items() if (claim := tenure.claim_to(end)) is not None]
        return Gathered(records, [claim for _, claim in claims], self._outcomes.specializations), claims


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")
