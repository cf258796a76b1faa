"""The watch: looks every second at what concerns a worker and reaches it by no topic.

Whether the outbox is full, whether somebody accepted what stopped a partition, whether a topic was made anew under the
consumer's feet, and which specializations there are.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import psycopg2
import structlog
from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from schemas.errors import LaurelsError
from sinks import positions
from sinks.alerts import raise_alerts, resolve_alerts
from sinks.conditions import check_conditions
from sinks.database import Connect, Verdict, classify
from sinks.ledger.rulesets import fetch_levels
from sinks.outbox import backlog
from streams.logs import Logs
from streams.recorder import Recorder
from streams.telemetry import Telemetry

INTERVAL_SECONDS: Final = 1.0
IDENTITY_EVERY: Final = 5
"""The topics' ids are asked for, and lasting conditions checked, on every fifth look."""

log = structlog.get_logger()


class Rejoin(LaurelsError):
    """The worker must leave its group and join again, to claim its partitions anew."""


class Watch:
    """Looks in a thread of its own, and tells the recorder on its event loop."""

    def __init__(
        self,
        connect: Connect,
        group: str,
        logs: Logs,
        recorder: Recorder,
        telemetry: Telemetry,
        *,
        outbox_limit: int,
        log_ids: Mapping[str, str],
    ) -> None:
        self._connect = connect
        self._group = group
        self._logs = logs
        self._recorder = recorder
        self._telemetry = telemetry
        self._outbox_limit = outbox_limit
        self._log_ids = log_ids
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._held = False
        self._identified = True

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more. Does not wait for a look that is under way."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._connect()) as connection:
                    self._watch(connection.cursor)
            except psycopg2.Error as error:
                if classify(error) is not Verdict.RETRY:
                    self._tell(self._recorder.fail, error)
                    return
                log.warning("watch waits for Postgres", sqlstate=error.pgcode)
            self._stopping.wait(INTERVAL_SECONDS)

    def _watch(self, open_cursor: Callable[[], Cursor]) -> None:
        looks = 0
        while not self._stopping.is_set():
            with open_cursor() as cursor, cursor.connection:
                self._look_at_outbox(cursor)
                self._look_at_stopped(cursor)
                self._tell(setattr, self._recorder, "specializations", frozenset(fetch_levels(cursor)))
            if looks % IDENTITY_EVERY == 0:
                self._look_at_topics()
                with open_cursor() as cursor, cursor.connection:
                    check_conditions(cursor)
            looks += 1
            self._stopping.wait(INTERVAL_SECONDS)

    def _look_at_outbox(self, cursor: Cursor) -> None:
        waiting = backlog(cursor)
        # Held until the relay has made some way, or recording would stutter around the limit.
        full = waiting > (self._outbox_limit if not self._held else self._outbox_limit * 9 // 10)
        self._telemetry.outbox(waiting, held=full)
        self._tell(lambda: self._recorder.hold(holding=full))
        if full != self._held:
            self._held = full
            log.warning("recording is held: the outbox is full" if full else "recording goes on", messages=waiting)
            self._announce(cursor, waiting)

    def _announce(self, cursor: Cursor, waiting: int) -> None:
        if not self._held:
            resolve_alerts(cursor, [("OPS-05", self._group)])
            return
        expected = f"at most {self._outbox_limit} messages wait in the outbox"
        raise_alerts(cursor, [AlertSeen(kind="OPS-05", subject=self._group, expected=expected, found=str(waiting))])

    def _look_at_stopped(self, cursor: Cursor) -> None:
        stopped = self._recorder.stopped_partitions()
        accepted = [where for where in stopped if where not in positions.stopped(cursor, self._group)]
        if accepted:
            self._tell(self._recorder.fail, Rejoin(f"what stopped {accepted} was accepted"))

    def _look_at_topics(self) -> None:
        try:
            found = self._logs.identify(self._log_ids)
        except LaurelsError as error:
            if self._identified:
                log.warning("the topics cannot be identified just now", error=str(error))
            self._identified = False
            return
        self._identified = True
        if found != self._log_ids:
            changed = sorted(topic for topic, log_id in found.items() if self._log_ids[topic] != log_id)
            self._tell(self._recorder.fail, Rejoin(f"topics were deleted and made anew: {', '.join(changed)}"))

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *arguments)
