"""The Faust app: raw bytes in, manual acknowledgement, one agent per topic, and no table, web server or leader."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import faust
from faust.app import BootStrategy
from faust.types import StreamT, TransportT
from mode import CrashingSupervisor
from yarl import URL

from schemas.settings import Settings
from streams.agents import AGENTS
from streams.consumer import CHUNK, Pipeline, Transport
from streams.recorder import Recorder

FETCH_EVERY_SECONDS: Final = 0.01

_Sink = TypeVar("_Sink")


class _Boot(BootStrategy):
    """What goes out goes by the outbox: no producer."""

    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    """A Faust app that reads by our `Consumer` and hands what it reads to `pipeline`."""

    BootStrategy = _Boot

    def __init__(
        self,
        *args: Any,
        pipeline: Pipeline,
        consumer_settings: Mapping[str, Any],
        fetch_every_seconds: float,
        **options: Any,
    ) -> None:
        self.pipeline = pipeline
        self.consumer_settings = consumer_settings
        self.fetch_every_seconds = fetch_every_seconds
        super().__init__(*args, **options)

    def _create_directories(self) -> None:
        """Make none: Faust would keep its tables there, and we have no table."""

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)


def build_app(settings: Settings, recorder: Recorder) -> App:
    """The app of one worker, as `settings` say, recording into `recorder`. Needs a running event loop."""
    app = make_app(settings, settings.group, recorder, len(AGENTS), FETCH_EVERY_SECONDS)
    for topic, agent in AGENTS.items():
        bind(app, settings.topic_prefix + topic, topic, agent, recorder)
    return app


def make_app(settings: Settings, group: str, pipeline: Pipeline, agents: int, fetch_every_seconds: float) -> App:
    """An app without agents, in the consumer group `group`, that asks each broker no more often than that."""
    # They tell of every start and rebalance in dozens of lines; what matters of that we log ourselves.
    for chatty in ("aiokafka", "faust", "mode", "streams.app", "streams.consumer"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    brokers = [URL(f"kafka://{server}") for server in settings.bootstrap_servers.split(",")]
    return App(
        group,
        pipeline=pipeline,
        consumer_settings=settings.aiokafka(),
        fetch_every_seconds=fetch_every_seconds,
        broker=brokers,
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        agent_supervisor=CrashingSupervisor,
        # What an agent took in is recorded before its partition goes to somebody else.
        stream_wait_empty=True,
        # With the recorder's own bounds this keeps a worker's memory flat.
        stream_buffer_maxsize=max(settings.buffer_events // agents // CHUNK, 1),
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_seconds,
        # Also how soon a member hears that others join or leave.
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=60.0,
        broker_request_timeout=90.0,
        broker_max_poll_records=2_000,
    )


def bind(
    app: App, name: str, topic: str, agent: Callable[[StreamT[bytes], _Sink], Awaitable[None]], sink: _Sink
) -> None:
    """Have `agent` read the topic that Kafka knows by `name`, into `sink`."""

    async def bound(stream: StreamT[bytes]) -> None:
        await agent(stream, sink)

    app.agent(app.topic(name, key_type=bytes, value_type=bytes, allow_empty=True), name=topic)(bound)
