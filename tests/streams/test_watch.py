"""What a worker hears of although no topic brings it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.events import SESSION_ATTENDANCE
from sinks.database import Connect, connector, transaction
from streams import watch
from streams.logs import Logs
from streams.recorder import Recorder
from streams.telemetry import Telemetry
from streams.watch import Rejoin, Watch
from tests.streams.idle import idle_recorder
from tests.streams.stage import Stage

ADD_GOALKEEPERS = """
INSERT INTO specializations VALUES ('GOALKEEPER', 'Goalkeeper', 1);
INSERT INTO specialization_levels VALUES ('GOALKEEPER', 1, 'Keeper', 0)
"""
ADD_DEAD_LETTER = """
INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail, headers)
VALUES ('session-attendance', 'cluster/topic', 0, 0, 'undecodable', 'poison', '[]')
"""


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages wait in the outbox, look by look, the last one first."""
    waiting: list[int] = []
    monkeypatch.setattr(watch, "backlog", lambda _cursor: waiting.pop())
    return waiting


class Looking(Watch):
    """A watch whose looks are asked for one by one; `held` is what the recorder was told."""

    def __init__(self, limit: int) -> None:
        self.held: list[bool] = []
        self._recorder = cast("Any", SimpleNamespace(hold=lambda *, holding: self.held.append(holding)))
        self._telemetry = Telemetry()
        self._outbox_limit = limit
        self._held = False
        self._group = "group"

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        what(*arguments)


def test_recording_that_was_held_goes_on_once_the_relay_has_made_some_way(
    database_url: str, waiting: list[int]
) -> None:
    looking = Looking(100)
    waiting += reversed([100, 101, 100, 91, 90, 100, 101])
    with transaction(connector(database_url, name="watch")) as cursor:
        while waiting:
            looking._look_at_outbox(cursor)
    assert looking.held == [False, True, True, True, False, False, True]


@contextmanager
def watching(connect: Connect, logs: object, log_ids: Mapping[str, str]) -> Iterator[Recorder]:
    """A recorder that hears of what a watch sees; needs a running event loop."""
    recorder, telemetry = idle_recorder(), Telemetry()
    looking = Watch(connect, "group", cast("Any", logs), recorder, telemetry, outbox_limit=10, log_ids=log_ids)
    looking.start()
    try:
        yield recorder
    finally:
        looking.stop()


class Unchanged:
    """Logs that are what they were."""

    def identify(self, topics: Mapping[str, str]) -> Mapping[str, str]:
        return topics


def test_a_specialization_that_the_academy_adds_may_be_named_from_then_on(database_url: str) -> None:
    connect = connector(database_url, name="watch")

    async def watched() -> None:
        with watching(connect, Unchanged(), {}) as recorder:
            while "PLAYER" not in recorder.specializations:  # noqa: ASYNC110  a thread looks
                await asyncio.sleep(0.01)
            assert "GOALKEEPER" not in recorder.specializations
            with transaction(connect) as cursor:
                cursor.execute(ADD_GOALKEEPERS)
            while "GOALKEEPER" not in recorder.specializations:  # noqa: ASYNC110  a thread looks
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(watched(), 60))


def test_what_only_the_tables_show_is_told_while_a_worker_runs(database_url: str) -> None:
    connect = connector(database_url, name="watch")
    with transaction(connect) as cursor:
        cursor.execute(ADD_DEAD_LETTER)

    def alerts() -> list[tuple[str]]:
        with transaction(connect) as cursor:
            cursor.execute("SELECT kind FROM reward_alerts WHERE status = 'firing'")
            return cursor.fetchall()

    async def watched() -> None:
        with watching(connect, Unchanged(), {}):
            while not alerts():  # noqa: ASYNC110  a thread looks
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(watched(), 60))
    assert alerts() == [("OPS-02",)]


def test_a_topic_that_is_another_one_by_now_makes_the_worker_join_again(stage: Stage) -> None:
    """The consumer knows topics by name alone, and would read on in the new one at the old one's offset."""
    logs = Logs({"bootstrap.servers": stage.servers}, prefix=stage.namespace)
    known = logs.identify([SESSION_ATTENDANCE]) | {SESSION_ATTENDANCE: "cluster/deleted"}

    async def watched() -> BaseException:
        with watching(connector(stage.database_url, name="watch"), logs, known) as recorder:
            return await asyncio.wait_for(recorder.failure, 60)

    reason = asyncio.run(watched())
    assert isinstance(reason, Rejoin)
    assert SESSION_ATTENDANCE in str(reason)
