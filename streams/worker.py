"""The worker: claims, reads, records and acknowledges until it is told to stop, or meets what it may not pass over.

A worker that was fenced, or whose logs are not what they were, ends its term with what is in hand unacknowledged, and
begins another one, which claims anew.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

import psycopg2
import structlog

from schemas.alerts import AlertSeen
from schemas.errors import DatabaseUnavailable, Fenced, LaurelsError, MustStop
from schemas.events import EVENT_TOPICS
from schemas.settings import Settings
from sinks import positions
from sinks.alerts import raise_alerts
from sinks.database import Connect, Timeouts, connector, transaction
from sinks.ledger import Identity, Ledger, RetryPolicy
from streams import rules
from streams.backoff import Backoff
from streams.claims import Claims
from streams.ledger_process import LedgerProcess, Opening
from streams.logs import Logs
from streams.monitor import Monitor
from streams.relay import Relay
from streams.schedule import Schedule, Task
from streams.sealing import chain_task, sealing_task
from streams.sync import sync_task
from streams.telemetry import Telemetry
from streams.term import ENDS_WELL, Term, Workplace

STEADY_SECONDS: Final = 60.0
"""A term that lasted so long was no failure: pauses between terms begin at the shortest again."""
TERMS_AT_MOST: Final = 20
"""Terms in a row that did not last: something is wrong that joining again does not mend."""

log = structlog.get_logger()


class Worker:
    """One worker process. `run` returns once it was asked to stop; what must stop it is raised."""

    def __init__(self, settings: Settings, *, relay: bool = True) -> None:
        self._settings = settings
        self._identity = Identity(settings.group, f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")
        self._timeouts = Timeouts(
            connect_seconds=settings.database_connect_timeout_seconds,
            statement_ms=settings.database_statement_timeout_ms,
            lock_ms=settings.database_lock_timeout_ms,
            idle_in_transaction_ms=settings.database_idle_in_transaction_timeout_ms,
        )
        self._retry = RetryPolicy(
            seconds=settings.retry_for_seconds,
            first_pause_seconds=settings.retry_first_seconds,
            most_pause_seconds=settings.retry_longest_seconds,
        )
        self._connect = self._connector("worker")
        self._logs = Logs(settings.librdkafka(), prefix=settings.topic_prefix)
        self._claims = Claims(self._connect, self._identity, self._logs)
        self._telemetry = Telemetry()
        self._monitor = Monitor(self._telemetry, settings.metrics_host, settings.metrics_port)
        self._relay = (
            Relay(self._connector("relay"), settings.librdkafka(), topic_prefix=settings.topic_prefix)
            if relay
            else None
        )
        self._schedule = Schedule(self._connector("schedule"), self._tasks(), owner=self._identity.owner)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await asyncio.to_thread(self._refuse_other_cluster)
        self._monitor.start()
        if self._relay is not None:
            self._relay.start()
        self._schedule.start()
        beating = asyncio.create_task(self._beat(), name="beat")
        log.info("worker starts", owner=self._identity.owner, group=self._identity.group)
        try:
            await self._serve_terms()
        except LaurelsError as error:
            await asyncio.to_thread(self._announce, [_ended(self._identity.owner, error)])
            raise
        finally:
            beating.cancel()
            await asyncio.to_thread(self._leave)
            log.info("worker left", owner=self._identity.owner)

    async def _serve_terms(self) -> None:
        backoff = Backoff(first=0.2, most=10.0)
        short_terms = 0
        while not self._stop.is_set():
            began = time.monotonic()
            reason = await Term(await self._workplace()).serve(self._stop)
            if reason is None:
                return
            if not isinstance(reason, ENDS_WELL):
                raise _as_reason(reason)
            if time.monotonic() - began > STEADY_SECONDS:
                backoff.reset()
                short_terms = 0
            short_terms += 1
            if short_terms > TERMS_AT_MOST:
                message = f"joined the group {short_terms} times in a row without staying: {reason}"
                raise MustStop(message) from reason
            log.warning("worker joins its group again", reason=type(reason).__name__, detail=str(reason))
            self._telemetry.rejoined(type(reason).__name__)
            if isinstance(reason, Fenced):
                await asyncio.to_thread(self._announce, [_fenced(self._identity.owner, reason)])
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), backoff.next_seconds())

    async def _workplace(self) -> Workplace:
        return Workplace(
            settings=self._settings,
            connect=self._connect,
            logs=self._logs,
            claims=self._claims,
            open_ledger=self._open_ledger_process,
            telemetry=self._telemetry,
            log_ids=await asyncio.to_thread(self._logs.identify, list(EVENT_TOPICS)),
        )

    def _tasks(self) -> list[Task]:
        settings = self._settings
        tasks = [
            sealing_task(self._connector("seal"), every_seconds=settings.seal_interval_seconds),
            chain_task(self._connector("chain"), every_seconds=settings.verify_chain_interval_hours * 3600),
        ]
        if settings.sync_scheduled:
            every_seconds = settings.sync_interval_hours * 3600
            tasks.append(sync_task(self._connector("sync"), self._open_ledger, every_seconds=every_seconds))
        return tasks

    def _open_ledger(self) -> Ledger:
        connect = self._connector("ledger")
        return Ledger(connect, rules, self._identity, retry=self._retry, on_retry=self._telemetry.retried)

    def _open_ledger_process(self) -> LedgerProcess:
        settings = self._settings
        opening = Opening(
            database_url=settings.database_url,
            timeouts=self._timeouts,
            identity=self._identity,
            retry=self._retry,
            dead_letters_in_a_row=settings.dead_letter_limit,
        )
        return LedgerProcess(opening, on_retry=self._telemetry.retried)

    def _connector(self, name: str) -> Connect:
        return connector(self._settings.database_url, name=f"laurels {name}", timeouts=self._timeouts)

    def _refuse_other_cluster(self) -> None:
        cluster_id = self._logs.cluster_id()
        try:
            with transaction(self._connect) as cursor:
                positions.refuse_other_cluster(cursor, self._settings.group, cluster_id)
        except psycopg2.Error as error:
            message = f"Postgres cannot be used: {error}"
            raise DatabaseUnavailable(message) from error

    def _announce(self, alerts: Sequence[AlertSeen]) -> None:
        try:
            with transaction(self._connect) as cursor:
                raise_alerts(cursor, alerts)
        except psycopg2.Error as error:
            # Told by the log instead: that Postgres is away may be the very thing to tell.
            log.warning("an alert could not be raised", alerts=[alert.found for alert in alerts], error=str(error))

    def _leave(self) -> None:
        if self._relay is not None:
            self._relay.stop(timeout_seconds=1.0)
        self._schedule.stop(timeout_seconds=1.0)
        self._monitor.stop()
        try:
            self._claims.release()
        except psycopg2.Error as error:
            log.warning("the partitions are left to be taken over", error=str(error))

    async def _beat(self) -> None:
        while True:
            self._telemetry.turned()
            await asyncio.sleep(1.0)


def _as_reason(error: BaseException) -> LaurelsError:
    if isinstance(error, LaurelsError):
        return error
    reason = MustStop(f"{type(error).__name__}: {error}")
    reason.__cause__ = error
    return reason


def _fenced(owner: str, error: Fenced) -> AlertSeen:
    return AlertSeen(
        kind="OPS-03",
        subject=f"{error.topic}/{error.partition}",
        expected="only the owner of a partition writes",
        found=f"{owner} was refused: {error}",
        labels={"topic": error.topic, "partition": str(error.partition)},
    )


def _ended(owner: str, error: LaurelsError) -> AlertSeen:
    return AlertSeen(
        kind="OPS-10",
        subject=type(error).__name__,
        expected="a worker stops when it is told to",
        found=f"{owner} stopped: {error}",
    )
