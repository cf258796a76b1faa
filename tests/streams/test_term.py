"""How a membership in the group ends when Faust crashed, or does not stop."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import OffsetOutOfRangeError
from faust.types import TP

from schemas.errors import MustStop
from schemas.events import SESSION_ATTENDANCE
from streams import term
from streams.consumer import Consumer
from streams.term import Term

HELD = TP(SESSION_ATTENDANCE, 0)
LOST = TP(SESSION_ATTENDANCE, 1)


class Leaving(Consumer):
    """A consumer without Kafka that has something to tell it, of a partition that it holds and of one that it lost."""

    def __init__(self, *, crashed: bool) -> None:
        self.app = cast("Any", SimpleNamespace(crashed=crashed))
        self.told: list[dict[TP, int]] = []
        self._acknowledged = {HELD: 7, LOST: 9}

    def assignment(self) -> set[TP]:
        return {HELD}

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        self.told.append(offsets)
        return True


@pytest.mark.parametrize(("crashed", "told"), [(False, [{HELD: 7}]), (True, [])])
def test_a_consumer_whose_app_crashed_asks_nothing_of_its_thread(*, crashed: bool, told: list[dict[TP, int]]) -> None:
    consumer = Leaving(crashed=crashed)
    assert asyncio.run(consumer.force_commit()) is not crashed
    assert consumer.told == told


class Stage:
    """A Faust app that crashes when it is started, and a recorder and a watch that have nothing to do."""

    def __init__(self, crash: BaseException, *, stops: bool) -> None:
        self._crashed = asyncio.Event()
        self.crash_reason = crash
        self._stops = stops
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.specializations: frozenset[str] = frozenset()

    async def start_app(self) -> None:
        self._crashed.set()

    async def stop_app(self) -> None:
        if not self._stops:
            await asyncio.Event().wait()

    async def end(self) -> None:
        """Nothing is in hand."""


class Crashing(Term):
    """A term on such a stage."""

    def __init__(self, stage: Stage) -> None:
        self._app = cast("Any", SimpleNamespace(start=stage.start_app, stop=stage.stop_app))
        self._app._crashed, self._app.crash_reason = stage._crashed, stage.crash_reason
        self._watch = cast("Any", SimpleNamespace(start=lambda: None, stop=lambda: None))
        recorder = SimpleNamespace(start=lambda: None, stop=stage.end, abandon=lambda: None, failure=stage.failure)
        recorder.fail = stage.failure.set_result
        self._recorder = cast("Any", recorder)

    def _fetch_specializations(self) -> frozenset[str]:
        return frozenset()


async def serve(crash: BaseException, *, stops: bool) -> BaseException | None:
    return await Crashing(Stage(crash, stops=stops)).serve(asyncio.Event())


def test_what_another_term_mends_is_told_as_it_is_once_faust_has_stopped() -> None:
    crash = OffsetOutOfRangeError({HELD: 7})
    assert asyncio.run(serve(crash, stops=True)) is crash


def test_no_other_term_begins_in_a_process_in_which_faust_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "STOP_SECONDS", 0.01)
    crash = OffsetOutOfRangeError({HELD: 7})
    told = asyncio.run(serve(crash, stops=False))
    assert isinstance(told, MustStop)
    assert told.__cause__ is crash
