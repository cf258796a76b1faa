"""A ledger in a process of its own: deciding and recording take a core, and the event loop's process keeps its own.

The two talk over a socket that nobody else has. It is also how either hears that the other is gone: the ledger's
process ends at once, in the middle of a batch if it must, and its worker stops.
"""

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Final, NamedTuple

import msgspec

from schemas.errors import LaurelsError, MustStop
from sinks import failpoints
from sinks.batch import Recorded
from sinks.database import Timeouts, connector
from sinks.ledger import Identity, Ledger, RetryPolicy
from streams import interpreter, rules
from streams.intake import Gathered, Intake

LEAVE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a ledger's process is told first."""

    database_url: str
    timeouts: Timeouts
    identity: Identity
    retry: RetryPolicy
    dead_letters_in_a_row: int


class _Retried(NamedTuple):
    """On the way to an answer: the database could not serve, and the ledger tries again."""

    reason: str


# Records come by the thousand, and this is many times as quick as what the connection does by itself.
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Gathered).decode


class LedgerProcess:
    """The worker's end: starts the process, and passes on what it answers. Not to be shared between threads."""

    def __init__(self, opening: Opening, *, on_retry: Callable[[str], None] = lambda _reason: None) -> None:
        self._on_retry = on_retry
        self._connection, theirs = Pipe()
        with theirs:
            # Without -P it would look for its modules in the folder that it is started in.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import main; main()"], stdin=theirs.fileno()
            )
        self._connection.send(opening)

    def record(self, gathered: Gathered) -> Recorded:
        """Record it in the ledger's process, blocking until it is committed. Raises what the ledger raised there."""
        try:
            self._connection.send_bytes(_encode(gathered))
            answer = self._connection.recv()
            while isinstance(answer, _Retried):
                self._on_retry(answer.reason)
                answer = self._connection.recv()
        except (EOFError, OSError) as error:
            message = f"the ledger's process ended by itself, with {self._process.wait()}"
            raise MustStop(message) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # a retry, an error, or this

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Be a ledger's process: record what comes, one answer each, until the worker is gone."""
    # A signal to the whole group is for the worker to answer: it finishes the batch, and then lets us go.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    failpoints.kill_too(os.getppid())
    connection = Connection(os.dup(sys.stdin.fileno()))
    opening = connection.recv()
    jobs: SimpleQueue[Gathered] = SimpleQueue()
    interpreter.prepare()
    threading.Thread(target=_receive, args=(connection, jobs), name="receive", daemon=True).start()
    _serve(connection, opening, jobs)


def _receive(connection: Connection, jobs: SimpleQueue[Gathered]) -> None:
    try:
        while True:
            jobs.put(_decode(connection.recv_bytes()))
    except (EOFError, OSError):
        # Whoever would hear the answer is gone. Postgres rolls back what is not committed.
        os._exit(0)
    except BaseException:  # noqa: BLE001  without this thread nobody would ever answer the worker
        traceback.print_exc()
        os._exit(1)


def _serve(connection: Connection, opening: Opening, jobs: SimpleQueue[Gathered]) -> None:
    connect = connector(opening.database_url, name="laurels ledger", timeouts=opening.timeouts)

    def retried(reason: str) -> None:
        connection.send(_Retried(reason))

    ledger = Ledger(connect, rules, opening.identity, retry=opening.retry, on_retry=retried)
    intake = Intake(ledger, dead_letters_in_a_row=opening.dead_letters_in_a_row)
    while True:
        gathered = jobs.get()
        answer: Recorded | LaurelsError
        try:
            answer = intake.record(gathered)
        except LaurelsError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  whatever it is, the worker must hear of it
            traceback.print_exc()
            answer = MustStop(f"{type(error).__name__}: {error}")
        with suppress(OSError):
            connection.send(answer)
