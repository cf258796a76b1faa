"""A server process of ours: started so that it never outlives us, stopped in the way it asks for."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from schemas.errors import LaurelsError

_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.05
LAST_LINES: Final = 5

START_SECONDS: Final = 120.0
"""How long a server may take until it answers, on a machine that is busy starting others, too."""


class NotStarted(LaurelsError):
    """A server did not come up; the message ends with what it last said."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them, no two the same."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def answers(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _dying_with_us(death_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child does before it becomes the server: ask the kernel for `death_signal` when its parent is gone.

    A parent that is killed cannot stop its children, so nobody but the kernel can.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return ask


class Child:
    """One server process, in a session of its own: Ctrl-C reaches us, and we stop our children in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        environ: Mapping[str, str] | None = None,
        user: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if environ is None else dict(environ),
                cwd=folder,
                user=user,
                group=user and _group_of(user),
                extra_groups=None if user is None else [],
                start_new_session=True,
                preexec_fn=_dying_with_us(death_signal),  # noqa: PLW1509  only a system call
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """What the process ended with; None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """The end of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return " | ".join(line.strip() for line in text.splitlines()[-LAST_LINES:])

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
        """Wait until `ready`; a process that ends before, or takes longer, is `NotStarted`."""
        deadline = time.monotonic() + seconds
        while not ready():
            code = self.exit_code()
            if code is not None:
                raise NotStarted(f"{self.name} ended with {code} instead of starting: {self.last_words()}")
            if time.monotonic() > deadline:
                self.stop(seconds=0)
                raise NotStarted(f"{self.name} did not answer within {seconds:.0f} s: {self.last_words()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, seconds: float = 20) -> None:
        """Ask it to stop; insist after `seconds`. Returns when it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def _group_of(user: int) -> int:
    import pwd  # noqa: PLC0415  not on every platform, and only root needs it

    return pwd.getpwuid(user).pw_gid
