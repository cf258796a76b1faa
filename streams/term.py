"""A term: one membership of a worker in its consumer group, from joining to leaving."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final, cast

import structlog
from aiokafka.errors import OffsetOutOfRangeError

from schemas.errors import Fenced, MustStop
from schemas.settings import Settings
from sinks.database import Connect
from sinks.ledger.rulesets import fetch_levels
from streams.app import App, build_app
from streams.claims import Claims
from streams.consumer import Consumer
from streams.crew import Bounds
from streams.ledger_thread import Records
from streams.logs import Logs
from streams.recorder import Recorder
from streams.telemetry import Telemetry
from streams.watch import Rejoin, Watch

LEAVE_SECONDS: Final = 2.5
"""How long a batch in hand may take once the worker is told to leave; the rest of five seconds is for leaving."""
GOODBYE_SECONDS: Final = 1.5
"""How long leaving itself may take then. A worker that the others of its group keep from leaving is gone all the same."""
STOP_SECONDS: Final = 10.0
"""How long Faust may take to stop after a failure. If it does not, only the end of the process ends its membership."""

ENDS_WELL = (Fenced, Rejoin, OffsetOutOfRangeError)
"""What another term mends, since it claims anew."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What outlasts a worker's terms."""

    settings: Settings
    connect: Connect
    logs: Logs
    claims: Claims
    open_ledger: Callable[[], Records]
    telemetry: Telemetry
    log_ids: Mapping[str, str]


class Term:
    """Reads and records until asked to stop, or until something ends it. Needs a running event loop."""

    def __init__(self, place: Workplace) -> None:
        settings = place.settings
        self._place = place
        bounds = Bounds(
            ledgers=settings.ledger_connections,
            batch_events=settings.batch_events,
            dead_letters_in_a_row=settings.dead_letter_limit,
        )
        self._recorder = Recorder(
            place.open_ledger, place.claims.take, bounds, place.telemetry, topic_prefix=settings.topic_prefix
        )
        self._watch = Watch(
            place.connect,
            settings.group,
            place.logs,
            self._recorder,
            place.telemetry,
            outbox_limit=settings.outbox_limit,
            log_ids=place.log_ids,
        )
        self._app: App = build_app(settings, self._recorder)
        self._recorder.acknowledge = cast("Consumer", self._app.consumer).acknowledge

    async def serve(self, stop: asyncio.Event) -> BaseException | None:
        """Work until `stop` is set; None then, or what ended the term before."""
        self._recorder.specializations = await asyncio.to_thread(self._fetch_specializations)
        self._recorder.start()
        self._watch.start()
        starting = asyncio.create_task(self._app.start(), name="faust")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            reason = await self._until_over(starting, stopping)
        finally:
            stopping.cancel()
        if reason is not None:
            # First of all: nothing in hand may be acknowledged any more, and nobody may wait for it.
            self._recorder.fail(reason)
        patience = asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._recorder.abandon)
        stopped = await self._leave(starting, LEAVE_SECONDS + GOODBYE_SECONDS if reason is None else STOP_SECONDS)
        patience.cancel()
        if not stopped and isinstance(reason, ENDS_WELL):
            # What is left of it may be a member for ever, of partitions that nobody reads.
            stuck = MustStop(f"Faust does not stop, so another process must join the group: {reason}")
            stuck.__cause__ = reason
            return stuck
        return self._recorder.failure.result() if self._recorder.failure.done() else None

    async def _until_over(self, starting: asyncio.Task[None], stopping: asyncio.Task[bool]) -> BaseException | None:
        failure = self._recorder.failure
        crashing = asyncio.create_task(self._app._crashed.wait(), name="crash")  # noqa: SLF001
        waiting: set[asyncio.Future[object]] = {
            cast("asyncio.Future[object]", each) for each in (failure, crashing, stopping, starting)
        }
        try:
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if failure.done():
                    return failure.result()
                if crashing in done:
                    return self._app.crash_reason or MustStop("Faust crashed and does not say why")
                if stopping in done:
                    return None
                if starting in done and (error := starting.exception()) is not None:
                    return error
        finally:
            crashing.cancel()

    async def _leave(self, starting: asyncio.Task[None], seconds: float) -> bool:
        """Stop everything; whether Faust did within so many seconds."""
        starting.cancel()
        stopped = True
        try:
            async with asyncio.timeout(seconds):
                await self._app.stop()
        except TimeoutError:
            log.warning("Faust does not stop; its membership ends by its session timeout")
            stopped = False
        self._watch.stop()
        await self._recorder.stop()
        return stopped

    def _fetch_specializations(self) -> frozenset[str]:
        with closing(self._place.connect()) as connection, connection.cursor() as cursor:
            return frozenset(fetch_levels(cursor))
