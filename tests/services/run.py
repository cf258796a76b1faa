"""One Postgres and one broker per test run, started by the first test that asks, shared by all workers.

A keeper process per service holds it, so that it outlives the worker that asked first and ends with the run, however
that ends. `RUN_VARIABLE` names the run's folder; xdist's workers inherit it from the process that started them.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
RUN_VARIABLE: Final = "LAURELS_TEST_RUN"
REQUIRE_VARIABLE: Final = "LAURELS_REQUIRE_REAL_KAFKA"
REQUIRE_CHROMIUM: Final = "LAURELS_REQUIRE_CHROMIUM"
_STOP_SECONDS: Final = 30.0

Service = dict[str, str]


def begin() -> None:
    """Make the run's folder, unless we are a worker that inherits it."""
    if RUN_VARIABLE not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="laurels-tests-"))
        folder.chmod(0o755)  # Postgres may have to run as somebody else
        (folder / "owner").write_text(str(os.getpid()), encoding="utf-8")
        os.environ[RUN_VARIABLE] = str(folder)


def is_owner() -> bool:
    """Whether this process began the run, and therefore ends it."""
    return (folder() / "owner").read_text(encoding="utf-8") == str(os.getpid())


def folder() -> Path:
    """The run's folder."""
    return Path(os.environ[RUN_VARIABLE])


def end() -> None:
    """Tell the keepers to stop, and wait until they have."""
    run = folder()
    (run / "stop").touch()
    deadline = time.monotonic() + _STOP_SECONDS
    while list(run.glob("*.kept")) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(run, ignore_errors=True)
    del os.environ[RUN_VARIABLE]


def obtain(name: str) -> Service:
    """The service called `name`, started if nobody asked before; a start that failed fails everybody who asks."""
    answer = folder() / f"{name}.json"
    with alone(name):
        if not answer.exists():
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.services.keeper", name],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            while not answer.exists():
                if keeper.poll() is not None and not answer.exists():
                    raise RuntimeError(f"the keeper of {name} ended with {keeper.returncode}")
                time.sleep(0.02)
            # Its end is the run's end, which this process need not see: nothing is left to wait for.
            keeper.returncode = 0
    service: Service = json.loads(answer.read_text(encoding="utf-8"))
    if "failed" in service:
        raise RuntimeError(f"{name} could not be started: {service['failed']}")
    return service


def obtained(name: str) -> Service | None:
    """The service called `name`, if anybody asked for it."""
    answer = folder() / f"{name}.json"
    return json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process of the run at a time."""
    with (folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
