"""A thread that waits for one ledger's answers, so that the event loop need not."""

import asyncio
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from sinks.batch import Recorded
from streams.intake import Gathered


class Records(Protocol):
    """What records: a ledger, bound to the thread that uses it."""

    def record(self, gathered: Gathered) -> Recorded:
        """Record what was gathered, blocking until it is committed."""

    def close(self) -> None:
        """Give back what it holds."""


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
