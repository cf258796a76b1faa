"""Places where a test may kill the process, to see what a crash there leaves. Inert unless the environment asks."""

import os
import signal
from typing import Final

VARIABLE: Final = "LAURELS_FAILPOINT"
_visits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die by SIGKILL if the environment names this place: `name`, or `name:3` for the third visit."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, visit = wanted.partition(":")
    if place == name:
        _visits[name] = _visits.get(name, 0) + 1
        if _visits[name] >= int(visit or 1):
            os.kill(os.getpid(), signal.SIGKILL)
