"""The Faust app: raw bytes in, manual acknowledgement, one agent per topic, and no table, web server or leader."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import faust
from faust.app import BootStrategy
from faust.types import StreamT, TransportT
from mode import CrashingSupervisor
from yarl import URL

from schemas.settings import Settings
from streams.agents import AGENTS
from streams.consumer import Transport
from streams.recorder import Recorder


class _Boot(BootStrategy):
    """What goes out goes by the outbox: no producer."""

    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    """A Faust app that reads by our `Consumer` and hands what it reads to `pipeline`."""

    BootStrategy = _Boot

    def __init__(self, *args: Any, pipeline: Recorder, consumer_settings: Mapping[str, Any], **options: Any) -> None:
        self.pipeline = pipeline
        self.consumer_settings = consumer_settings
        super().__init__(*args, **options)

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)


def build_app(settings: Settings, recorder: Recorder) -> App:
    """The app of one worker, as `settings` say, recording into `recorder`. Needs a running event loop."""
    # They tell of every start and rebalance in dozens of lines; what matters of that we log ourselves.
    for chatty in ("aiokafka", "faust", "mode", "streams.app", "streams.consumer"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    brokers = [URL(f"kafka://{server}") for server in settings.bootstrap_servers.split(",")]
    app = App(
        settings.group,
        pipeline=recorder,
        consumer_settings=settings.aiokafka(),
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
        stream_buffer_maxsize=max(settings.buffer_events // len(AGENTS), 1),
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_seconds,
        # Also how soon a member hears that others join or leave.
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=60.0,
        broker_request_timeout=90.0,
        broker_max_poll_records=2_000,
    )
    for topic, agent in AGENTS.items():
        source = app.topic(settings.topic_prefix + topic, key_type=bytes, value_type=bytes, allow_empty=True)
        app.agent(source, name=topic)(_bound(agent, recorder))
    return app


def _bound(
    agent: Callable[[StreamT[bytes], Recorder], Awaitable[None]], recorder: Recorder
) -> Callable[[StreamT[bytes]], Awaitable[None]]:
    async def bound(stream: StreamT[bytes]) -> None:
        await agent(stream, recorder)

    return bound
