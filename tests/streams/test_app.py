"""What Faust is told, and what it may not do by itself."""

import asyncio

from mode import CrashingSupervisor

from schemas.events import EVENT_TOPICS
from schemas.settings import Settings
from streams.app import App, build_app
from streams.crew import Bounds
from streams.intake import Gathered
from streams.recorder import Recorder
from streams.telemetry import Telemetry


class NoLedger:
    """Where nothing is recorded."""

    def record(self, gathered: Gathered) -> object:
        raise AssertionError(gathered)

    def close(self) -> None:
        """Hold nothing."""


async def build() -> App:
    recorder = Recorder(NoLedger, lambda _partitions, _generation: {}, Bounds(), Telemetry())
    return build_app(Settings(kafka="nowhere:9092", topic_prefix="dev-"), recorder)


def test_faust_makes_no_topic_and_begins_no_failed_agent_again() -> None:
    conf = asyncio.run(build()).conf
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.agent_supervisor is CrashingSupervisor


def test_every_topic_of_events_has_an_agent_of_its_own() -> None:
    app = asyncio.run(build())
    read = {topic for agent in app.agents.values() for topic in agent.channel.topics}
    assert read == {"dev-" + topic for topic in EVENT_TOPICS}
    assert len(app.agents) == len(EVENT_TOPICS)
