"""A process of ours that takes a part of the work, and the socket between the two, which nobody else has.

It is also how either hears that the other is gone.
"""

import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Final

LEAVE_SECONDS: Final = 2.0


class Partner:
    """The starter's end: a process that runs the `main` of `module`."""

    def __init__(self, module: str) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            # Without -P it would look for its modules in the folder that it is started in.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {module} import main; main()"], stdin=theirs.fileno()
            )

    def exit_code(self) -> int:
        """How it ended, once it has."""
        return self._process.wait()

    def close(self) -> None:
        """Let it end, and see that it does."""
        self.connection.close()
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def connect_to_starter() -> Connection:
    """The partner's own end. A signal to the whole group is for the starter to answer, who lets us go when it is time."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return Connection(os.dup(sys.stdin.fileno()))
