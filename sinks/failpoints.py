"""Places where a test may kill the process, to see what a crash there leaves. Inert unless the environment asks."""

import os
import signal
from typing import Final

VARIABLE: Final = "LAURELS_FAILPOINT"
_visits: dict[str, int] = {}
_victims: list[int] = []


def kill_too(pid: int) -> None:
    """Have a failpoint in this process kill that one first: they are one worker, and crash as one."""
    _victims.append(pid)


def failpoint(name: str) -> None:
    """Die by SIGKILL if the environment names this place: `name`, or `name:3` for the third visit."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, visit = wanted.partition(":")
    if place == name:
        _visits[name] = _visits.get(name, 0) + 1
        if _visits[name] >= int(visit or 1):
            for pid in (*_victims, os.getpid()):
                os.kill(pid, signal.SIGKILL)
