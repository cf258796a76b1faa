"""The processes of `laurels up`: which there are, started in order, watched, and stopped in the order turned round."""

import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from ops.embedded.child import Child, free_port
from schemas.errors import LaurelsError
from schemas.settings import Settings

READY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_told: Final = threading.Event()


class Stopped(BaseException):
    """Somebody asked us to stop, or the terminal is gone. Not an error, so nothing that handles errors sees it."""


class ChildEnded(LaurelsError):
    """One of the processes ended by itself: the others are stopped, too."""


class Runs(Protocol):
    """A process that can be watched and stopped."""

    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""

    def last_words(self) -> str:
        """The end of its log."""

    def stop(self) -> None:
        """Stop it; returns when it is gone."""


@dataclass(frozen=True, slots=True)
class Part:
    """A `laurels` command that `up` runs. `port` chooses where it answers `/readyz`, and `variable` tells it."""

    name: str
    arguments: tuple[str, ...]
    variable: str
    port: Callable[[Settings], int]


PARTS: Final = (
    Part("worker", ("worker",), "LAURELS_METRICS_PORT", lambda given: given.metrics_port or free_port()),
    Part("reconcile", ("reconcile", "--follow"), "LAURELS_METRICS_PORT", lambda _: free_port()),
    Part("api", ("api",), "LAURELS_HTTP_PORT", lambda given: given.http_port or free_port()),
)
"""What runs besides Postgres and the broker, in the order in which it is started."""


@dataclass(slots=True)
class Supervisor:
    """What runs, by name, in the order it was started."""

    running: dict[str, Runs] = field(default_factory=dict)

    def watch(self, name: str, process: Runs) -> None:
        """Take `process` into care: from now on its end is ours, and ours its."""
        self.running[name] = process

    def check(self) -> None:
        """Raise `ChildEnded` if something ended that should run, and `Stopped` again if that got lost."""
        if _told.is_set():
            raise Stopped
        for name, process in self.running.items():
            code = process.exit_code()
            if code is not None:
                raise ChildEnded(f"{name} ended with {code}: {process.last_words()}")

    def wait(self, ready: Callable[[], bool], what: str, *, seconds: float = READY_SECONDS) -> None:
        """Wait until `ready`, as long as everything runs."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise LaurelsError(f"{what} within {seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Stop everything, the last that was started first."""
        while self.running:
            _, process = self.running.popitem()
            process.stop()


def start_part(part: Part, settings: Settings, environ: Mapping[str, str], logs: Path) -> tuple[Child, str]:
    """Start one part in a process of its own, and return it with the address it answers on."""
    port = part.port(settings)
    log = logs / f"{part.name}.log"
    child = Child(
        part.name,
        [sys.executable, "-m", "ops.cli", *part.arguments],
        log=log,
        death_signal=signal.SIGTERM,
        environ={**os.environ, **environ, part.variable: str(port)},
    )
    return child, f"http://127.0.0.1:{port}"


def is_ready(address: str) -> bool:
    """Whether whoever serves `address` says that it is ready."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listen() -> None:
    """From now on Ctrl-C, SIGTERM and a terminal that goes away raise `Stopped`, once."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        deafen()
        # Where a library calls us back, what is raised goes no further: whoever looks next hears of it.
        _told.set()
        raise Stopped

    _told.clear()
    for number in _STOP_SIGNALS:
        signal.signal(number, stop)


def deafen() -> None:
    """From now on nobody can interrupt us: what we are doing is stopping, and it is bounded."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
