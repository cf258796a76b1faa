"""A ledger in a process of its own: deciding and recording take a core, and the event loop's process keeps its own.

A worker has such ledgers, and so has a replay. The two processes talk over a socket that nobody else has. It is also how
either hears that the other is gone: the ledger's process ends at once, in the middle of a batch if it must, and its
worker or replay stops.
"""

import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Final, NamedTuple

import msgspec

from schemas.errors import LaurelsError, MustStop
from sinks import failpoints
from sinks.batch import Recorded
from sinks.database import Timeouts, connector
from sinks.ledger import Identity, Ledger, RetryPolicy
from streams import interpreter, rules
from streams.intake import AS_THEY_COME, Gathered, Intake, Purpose
from streams.partner import Partner, connect_to_starter


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a ledger's process is told first. `session` is how Postgres lists it."""

    database_url: str
    timeouts: Timeouts
    identity: Identity
    retry: RetryPolicy
    dead_letters_in_a_row: int
    purpose: Purpose = AS_THEY_COME
    session: str = "laurels ledger"


class _Retried(NamedTuple):
    """On the way to an answer: the database could not serve, and the ledger tries again."""

    reason: str


class _Failed(NamedTuple):
    """The answer of a ledger that gave up, with what was behind it: an error that is sent leaves its cause behind."""

    error: LaurelsError
    cause: BaseException | None


# Records come by the thousand, and this is many times as quick as what the connection does by itself.
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Gathered).decode


class LedgerProcess:
    """The feeding end: starts the process, and passes on what it answers. Not to be shared between threads."""

    def __init__(self, opening: Opening, *, on_retry: Callable[[str], None] = lambda _reason: None) -> None:
        self._on_retry = on_retry
        self._partner = Partner(__name__)
        self._connection = self._partner.connection
        self._connection.send(opening)

    def record(self, gathered: Gathered) -> Recorded:
        """Record it in the ledger's process, blocking until it is committed. Raises what the ledger raised there."""
        self.begin(gathered)
        return self.finish()

    def begin(self, gathered: Gathered) -> None:
        """Have it recorded while the caller does something else. One batch at a time: `finish` comes before the next."""
        try:
            self._connection.send_bytes(_encode(gathered))
        except OSError as error:
            raise self._ended() from error

    def finish(self) -> Recorded:
        """Wait until what was begun is committed. Raises what the ledger raised there."""
        try:
            answer = self._connection.recv()
            while isinstance(answer, _Retried):
                self._on_retry(answer.reason)
                answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, _Failed):
            raise answer.error from answer.cause
        return answer  # type: ignore[no-any-return]  # a retry, a failure, or this

    def _ended(self) -> MustStop:
        return MustStop(f"the ledger's process ended by itself, with {self._partner.exit_code()}")

    def close(self) -> None:
        """End the process."""
        self._partner.close()


def main() -> None:
    """Be a ledger's process: record what comes, one answer each, until whoever feeds it is gone."""
    connection = connect_to_starter()
    failpoints.kill_too(os.getppid())
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
    except BaseException:  # noqa: BLE001  without this thread nobody would ever be answered
        traceback.print_exc()
        os._exit(1)


def _serve(connection: Connection, opening: Opening, jobs: SimpleQueue[Gathered]) -> None:
    connect = connector(opening.database_url, name=opening.session, timeouts=opening.timeouts)

    def retried(reason: str) -> None:
        connection.send(_Retried(reason))

    ledger = Ledger(connect, rules, opening.identity, retry=opening.retry, on_retry=retried)
    intake = Intake(ledger, dead_letters_in_a_row=opening.dead_letters_in_a_row, purpose=opening.purpose)
    while True:
        gathered = jobs.get()
        answer: Recorded | _Failed
        try:
            answer = intake.record(gathered)
        except LaurelsError as error:
            answer = _Failed(error, error.__cause__)
        except Exception as error:  # noqa: BLE001  whatever it is, the feeding process must hear of it
            traceback.print_exc()
            answer = _Failed(MustStop(f"{type(error).__name__}: {error}"), None)
        with suppress(OSError):
            connection.send(answer)
