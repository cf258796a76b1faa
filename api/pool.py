"""Blocking database work in threads: as many at once as there are connections, and a bounded wait for one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sinks.database import Connect

WAIT_SECONDS: Final = 5.0
"""How long a request waits for a connection before it is told to try again."""


class Busy(Exception):
    """Every connection was in use for too long."""


class Closes(Protocol):
    """What can be given back for good."""

    def close(self) -> None:
        """Give it back."""


T = TypeVar("T", bound=Closes)
R = TypeVar("R")


class Pool(Generic[T]):
    """At most `size` of what `make` makes, each used by one thread at a time."""

    def __init__(self, make: Callable[[], T], size: int, name: str) -> None:
        self._make = make
        self._free = asyncio.Semaphore(size)
        self._idle: SimpleQueue[T] = SimpleQueue()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, work: Callable[[T], R]) -> R:
        """Do `work` in a thread; raises `Busy` where none gets free in time.

        Work that was begun is ended, also if nobody waits for it any more.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise Busy("every connection is in use") from error
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._use, work)
        future.add_done_callback(self._freed)
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what is being done, and close everything."""
        self._threads.shutdown(wait=True)
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _use(self, work: Callable[[T], R]) -> R:
        try:
            one = self._idle.get_nowait()
        except Empty:
            one = self._make()
        try:
            return work(one)
        finally:
            self._idle.put(one)

    def _freed(self, future: "asyncio.Future[R]") -> None:
        self._free.release()
        if not future.cancelled():
            future.exception()  # so that asyncio does not complain of what nobody waits for


class Session:
    """One connection, opened when it is needed and anew when it was lost."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self, work: Callable[[Cursor], R]) -> R:
        """Do `work`, which changes nothing, in a transaction; once more if the connection turns out to be lost."""
        was_open = self._connection is not None
        try:
            return self.write(work)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if not was_open or self._connection is not None:
                raise
            return self.write(work)

    def write(self, work: Callable[[Cursor], R]) -> R:
        """Do `work` in a transaction, and commit it."""
        if self._connection is None:
            self._connection = self._connect()
        try:
            with self._connection, self._connection.cursor() as cursor:
                return work(cursor)
        finally:
            if self._connection.closed:
                self._connection = None
