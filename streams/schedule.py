"""Work that is done now and then, by exactly one of the processes that could.

Every process asks in a thread of its own; who gets the task's lock in Postgres, when it is time, does it. When it last ran
is kept there, too, so that restarts neither repeat nor forget it.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import psycopg2
import structlog

from schemas.errors import LaurelsError
from sinks.database import Connect
from sinks.schedule import begin_run, end_run

ASK_SECONDS: Final = 30.0
"""The longest between two looks whether it is time, unless somebody may ask for a task at any moment."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do every so often. `run` answers with what came of it, to be kept, and may be killed at any time."""

    name: str
    every_seconds: float
    run: Callable[[], dict[str, Any]]


class Schedule:
    """Does its tasks, one after the other, from `start` to `stop`."""

    def __init__(
        self, connect: Connect, tasks: Sequence[Task], *, owner: str, ask_seconds: float = ASK_SECONDS
    ) -> None:
        self._connect = connect
        self._ask_seconds = ask_seconds
        self._tasks = tasks
        self._owner = owner
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Begin no other task, and wait so long for one that is at work: killed, it is done by another soon after."""
        self._stopped.set()
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        pause = min([self._ask_seconds, *(task.every_seconds / 2 for task in self._tasks)])
        while True:
            for task in self._tasks:
                if self._stopped.is_set():
                    return
                self._try(task)
            if self._stopped.wait(pause):
                return

    def _try(self, task: Task) -> None:
        try:
            run_if_due(self._connect, task, owner=self._owner)
        except psycopg2.Error as error:
            log.warning("scheduled work could not be looked after", task=task.name, error=str(error))


def run_if_due(connect: Connect, task: Task, *, owner: str) -> bool:
    """Do `task` if it is its time and nobody is at it, and say whether it was done."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        # Outside any transaction: the session only holds the lock while the task works on connections of its own.
        connection.autocommit = True
        if not begin_run(cursor, task.name, every_seconds=task.every_seconds, owner=owner):
            return False
        try:
            outcome = task.run()
        except (LaurelsError, psycopg2.Error) as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
            log.warning("scheduled work failed", task=task.name, error=outcome["error"])
        else:
            log.info("scheduled work is done", task=task.name, outcome=outcome)
        end_run(cursor, task.name, outcome)
        return True
