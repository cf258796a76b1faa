"""What Faust is told, and what it may not do by itself."""

import asyncio
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from mode import CrashingSupervisor

from schemas.events import EVENT_TOPICS
from schemas.settings import Settings
from streams.app import App, build_app
from streams.consumer import Consumer
from tests.streams.idle import idle_recorder


async def build() -> App:
    return build_app(Settings(kafka="nowhere:9092", topic_prefix="dev-"), idle_recorder())


def test_faust_makes_no_topic_and_begins_no_failed_agent_again() -> None:
    conf = asyncio.run(build()).conf
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.agent_supervisor is CrashingSupervisor


async def make_consumer() -> AIOKafkaConsumer:
    """The client as a worker's thread makes it; never started, it asks nobody anything."""
    thread = cast("Consumer", (await build()).consumer)._thread
    client = thread._create_worker_consumer(cast("Any", None))
    await client.stop()
    thread.thread_loop.close()
    return client


def test_the_client_reads_what_is_committed_from_where_it_is_told_and_commits_nothing_by_itself() -> None:
    client = asyncio.run(make_consumer())
    assert client._isolation_level == "read_committed"
    assert client._auto_offset_reset == "none"
    assert not client._enable_auto_commit
    assert client._partition_assignment_strategy == [RangePartitionAssignor]


def test_every_topic_of_events_has_an_agent_of_its_own() -> None:
    app = asyncio.run(build())
    read = {topic for agent in app.agents.values() for topic in agent.channel.topics}
    assert read == {"dev-" + topic for topic in EVENT_TOPICS}
    assert len(app.agents) == len(EVENT_TOPICS)
