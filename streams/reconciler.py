"""The reconciler: a process of its own that reads `reward-entries`, checks whom they touch, and sweeps now and then.

Checking twice does no harm, so Kafka's own offsets will do: they are committed after the check. Who begins without one
begins at the end of the log, with a sweep.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Final, cast

import msgspec
import psycopg2
import structlog
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import TopicPartition
from faust.types import TP
from psycopg2.extensions import cursor as Cursor

from schemas.errors import MustStop
from schemas.events import REWARD_ALERTS, REWARD_ENTRIES
from schemas.messages import Alert, ChangedRows
from schemas.settings import Settings
from sinks.database import Timeouts, connector
from sinks.failpoints import failpoint
from sinks.invariants.settling import LOCK_MS
from sinks.invariants.sweeping import SCHEDULED, ask_for_sweep
from sinks.positions import Partition
from streams.agents.reward_alerts import reward_alerts
from streams.agents.reward_entries import reward_entries
from streams.app import App, bind, make_app
from streams.consumer import Chunk, Consumer
from streams.logs import Logs
from streams.monitor import Monitor
from streams.partitioning import Partitioning
from streams.reconciliation import PositionsSeen, TouchedByEvent, check_users, grace_of, sweep, touched_users
from streams.schedule import Schedule, Task
from streams.session import Session
from streams.telemetry import Telemetry
from streams.tenures import Tenure
from streams.touched import MOST, Next, Touched
from streams.webhook import Webhook

PAUSE_SECONDS: Final = 0.02
"""How long messages gather before they are decoded."""
FETCH_EVERY_SECONDS: Final = 0.05
"""Less often than a worker: nobody waits for a check as they do for a commit."""
NICENESS: Final = 10
"""Where recording needs the whole machine it gets it, and is followed as far as there is time."""
STOP_SECONDS: Final = 5.0
TIMEOUT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.25
ASK_SECONDS: Final = 1.0

log = structlog.get_logger()


class Reconciler:
    """What the consumer and the agents need; everything here is called on the event loop."""

    def __init__(self, settings: Settings, group: str, telemetry: Telemetry) -> None:
        self._settings = settings
        self._group = group
        self._telemetry = telemetry
        self._connect = connector(settings.database_url, name="laurels reconcile", timeouts=Timeouts(lock_ms=LOCK_MS))
        self._logs = Logs(settings.librdkafka(), prefix=settings.topic_prefix)
        self._grace = grace_of(settings)
        self._webhook = Webhook(str(settings.webhook_url.get_secret_value())) if settings.webhook_url else None
        self._decode = msgspec.json.Decoder(TouchedByEvent | ChangedRows).decode
        self._decode_alert = msgspec.json.Decoder(Alert).decode
        self._positions = PositionsSeen()
        self._touched = Touched()
        self._touches = asyncio.Event()
        self.consumer: Consumer | None = None

    def schedule(self) -> Schedule:
        """What one process at a time does for all: sweeps, now and then and when asked for, and a look at publishers."""
        settings = self._settings
        publishers = Partitioning(settings.librdkafka(), prefix=settings.topic_prefix)
        tasks = [Task(SCHEDULED, settings.sweep_interval_seconds, self._sweep), publishers.task(self._connect)]
        owner = f"{socket.gethostname()}-{os.getpid()}"
        return Schedule(self._connect, tasks, owner=owner, ask_seconds=ASK_SECONDS)

    def _sweep(self) -> dict[str, Any]:
        swept = sweep(self._connect, self._grace)
        return {**asdict(swept), "violations": len(swept.violations)}

    def look_at_tournaments(self) -> None:
        """See all the time what no entry speaks of: new rosters, and positions that went back."""
        while True:
            try:
                with closing(self._connect()) as connection, connection.cursor() as cursor:
                    while True:
                        with connection:
                            check_users(cursor, (), self._grace)
                            self._positions.check(cursor)
                        time.sleep(LOOK_SECONDS)
            except psycopg2.Error as error:
                log.warning("tournaments and positions could not be looked at", error=str(error))
                time.sleep(LOOK_SECONDS)

    # The consumer

    async def take_over(self, partitions: Iterable[TP], generation: int) -> dict[TP, Tenure]:
        """Read on where this group committed, else at the end of the log, after a sweep."""
        wanted = list(partitions)
        tenures = await asyncio.to_thread(self._take_over, wanted, generation) if wanted else {}
        self._telemetry.holds(list(tenures.values()))
        return tenures

    def _take_over(self, wanted: list[TP], generation: int) -> dict[TP, Tenure]:
        prefix = self._settings.topic_prefix
        states = self._logs.states([self._ours(tp) for tp in wanted])
        client = {**self._settings.librdkafka(), "group.id": self._group, "enable.auto.commit": False}
        with closing(KafkaConsumer(client)) as consumer:
            asked = [TopicPartition(tp.topic, tp.partition) for tp in wanted]
            committed = {TP(c.topic, c.partition): c.offset for c in consumer.committed(asked, timeout=TIMEOUT_SECONDS)}
        tenures = {}
        unknown = False
        for tp in wanted:
            state = states[tp.topic.removeprefix(prefix), tp.partition]
            offset = committed[tp]
            if not state.start_offset <= offset <= state.end_offset:
                unknown = True
                offset = state.end_offset
            tenures[tp] = _tenure(*self._ours(tp), offset, state.end_offset, generation)
        if unknown:
            with closing(Session(self._connect)) as session:
                session.transact(ask_for_sweep)
        return tenures

    def _ours(self, tp: TP) -> Partition:
        return tp.topic.removeprefix(self._settings.topic_prefix), tp.partition

    def give_up(self) -> None:
        """Nothing is held that others must wait for."""

    async def finish(self) -> None:
        """Nothing is held that others must wait for: what is not acknowledged is checked again."""

    def has_room(self, _tp: TP) -> bool:
        """Whether not too many wait to be checked."""
        return len(self._touched) < MOST

    def saw(self, tp: TP, generation: int, empty: tuple[int, int] | None, end_offset: int) -> None:
        """What holds no record touches nobody."""

    # The agents

    async def pause(self) -> None:
        """Let messages gather."""
        await asyncio.sleep(PAUSE_SECONDS)

    def touch(self, chunk: Chunk) -> None:
        """Have everyone touched checked, as often as it takes; then the messages are acknowledged."""
        self._touched.add(touched_users(self._entries(chunk)), {chunk.tp: chunk.next_offset})
        self._touches.set()

    async def check_forever(self) -> None:
        """Check whoever is touched, one after the other over one connection."""
        session = Session(self._connect)
        while True:
            todo = self._touched.take()
            if not isinstance(todo, Next):
                self._touches.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(todo):
                        await self._touches.wait()
                continue
            began = time.monotonic()
            if todo.users or todo.everybody:
                await asyncio.to_thread(session.transact, partial(self._check, todo=todo))
                failpoint("check_after_commit")
            self._touched.took(todo, time.monotonic() - began)
            for tp, end in todo.ends.items():
                self._acknowledge(tp, end)

    def _entries(self, chunk: Chunk) -> Iterable[TouchedByEvent | ChangedRows]:
        for record in chunk.records:
            try:
                yield self._decode(cast("bytes", record.value))
            except msgspec.MsgspecError as error:
                log.warning("not an entry", topic=record.topic, offset=record.offset, error=str(error))

    def _check(self, cursor: Cursor, todo: Next) -> None:
        check_users(cursor, todo.users, self._grace)
        if todo.everybody:
            # Committed before the messages are acknowledged, so that it outlives this process. After the alerts, as a
            # sweep locks them.
            ask_for_sweep(cursor)
        failpoint("check_before_commit")

    async def tell(self, chunk: Chunk) -> None:
        """Tell the webhook of the alerts, and acknowledge them once it took them."""
        assert self._webhook is not None
        alerts = []
        for record in chunk.records:
            if record.value is None:
                continue
            try:
                alerts.append(self._decode_alert(record.value))
            except msgspec.MsgspecError as error:
                log.warning("not an alert", topic=record.topic, offset=record.offset, error=str(error))
        if alerts:
            await self._webhook.tell(alerts)
        self._acknowledge(chunk.tp, chunk.next_offset)

    def _acknowledge(self, tp: TP, next_offset: int) -> None:
        assert self.consumer is not None
        self.consumer.acknowledge(tp, next_offset)

    def build_app(self) -> App:
        """The Faust app with its agents; the one for alerts only where there is a webhook."""
        agents: Mapping[str, Any] = {REWARD_ENTRIES: reward_entries}
        if self._webhook is not None:
            agents = {**agents, REWARD_ALERTS: reward_alerts}
        app = make_app(self._settings, self._group, self, len(agents), FETCH_EVERY_SECONDS)
        for topic, agent in agents.items():
            bind(app, self._settings.topic_prefix + topic, topic, agent, self)
        self.consumer = cast("Consumer", app.consumer)
        return app


async def reconcile_forever(settings: Settings) -> None:
    """Check whoever is touched until SIGTERM; several processes share the work."""
    os.nice(NICENESS)
    telemetry = Telemetry()
    reconciler = Reconciler(settings, f"{settings.group}-reconcile", telemetry)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    monitor = Monitor(telemetry, settings.metrics_host, settings.metrics_port)
    monitor.start()
    app = reconciler.build_app()
    schedule = reconciler.schedule()
    schedule.start()
    threading.Thread(target=reconciler.look_at_tournaments, name="look", daemon=True).start()
    starting = asyncio.create_task(app.start(), name="faust")
    crashing = asyncio.create_task(app._crashed.wait(), name="crash")  # noqa: SLF001
    stopping = asyncio.create_task(stop.wait(), name="stop")
    checking = asyncio.create_task(reconciler.check_forever(), name="check")
    beating = asyncio.create_task(_beat(telemetry), name="beat")
    try:
        await asyncio.wait({crashing, stopping, checking}, return_when=asyncio.FIRST_COMPLETED)
        reason = checking.exception() if checking.done() else app.crash_reason
        if reason is not None:
            message = f"{type(reason).__name__}: {reason}"
            raise MustStop(message) from reason
    finally:
        for task in (starting, crashing, stopping, checking, beating):
            task.cancel()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await app.stop()
        except TimeoutError:
            log.warning("Faust does not stop; its membership ends by its session timeout")
        schedule.stop(0)
        monitor.stop()


async def _beat(telemetry: Telemetry) -> None:
    while True:
        telemetry.turned()
        await asyncio.sleep(1.0)


def _tenure(topic: str, partition: int, offset: int, end: int, generation: int) -> Tenure:
    return Tenure(
        topic=topic,
        partition=partition,
        log_id="",
        epoch=0,
        generation=generation,
        next_offset=offset,
        claimed=offset,
        recorded=offset,
        end_offset=end,
    )
