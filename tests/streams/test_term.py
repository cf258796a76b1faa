"""How a membership in the group begins, and how it ends when Faust crashed, or does not stop."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import OffsetOutOfRangeError
from faust.types import TP

from schemas.errors import MustStop
from schemas.events import SESSION_ATTENDANCE
from streams import term
from streams.term import Term

HELD = TP(SESSION_ATTENDANCE, 0)
KNOWN = frozenset({"PLAYER"})


class Stage:
    """A Faust app that crashes when it is started, if it is to, and a recorder and a watch that have nothing to do."""

    def __init__(self, crash: BaseException | None, *, stops: bool) -> None:
        self._crashed = asyncio.Event()
        self.crash_reason = crash
        self._stops = stops
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.recorder = SimpleNamespace(
            start=lambda: None,
            stop=self.end,
            abandon=lambda: None,
            failure=self.failure,
            fail=self.failure.set_result,
            specializations=frozenset(),
        )
        self.known_at_start: frozenset[str] | None = None

    async def start_app(self) -> None:
        self.known_at_start = self.recorder.specializations
        if self.crash_reason is not None:
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
        self._recorder = cast("Any", stage.recorder)

    def _fetch_specializations(self) -> frozenset[str]:
        return KNOWN


async def serve(crash: BaseException, *, stops: bool) -> BaseException | None:
    return await Crashing(Stage(crash, stops=stops)).serve(asyncio.Event())


async def begin() -> Stage:
    stage = Stage(MustStop("enough"), stops=True)
    await Crashing(stage).serve(asyncio.Event())
    return stage


def test_nothing_is_read_before_it_is_known_which_specializations_there_are() -> None:
    assert asyncio.run(begin()).known_at_start == KNOWN


def test_what_another_term_mends_is_told_as_it_is_once_faust_has_stopped() -> None:
    crash = OffsetOutOfRangeError({HELD: 7})
    assert asyncio.run(serve(crash, stops=True)) is crash


def test_no_other_term_begins_in_a_process_in_which_faust_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "STOP_SECONDS", 0.01)
    crash = OffsetOutOfRangeError({HELD: 7})
    told = asyncio.run(serve(crash, stops=False))
    assert isinstance(told, MustStop)
    assert told.__cause__ is crash


async def leave() -> BaseException | None:
    told = asyncio.Event()
    told.set()
    return await Crashing(Stage(None, stops=False)).serve(told)


def test_a_worker_that_is_told_to_leave_is_not_kept_by_what_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "LEAVE_SECONDS", 0.01)
    monkeypatch.setattr(term, "GOODBYE_SECONDS", 0.01)
    monkeypatch.setattr(term, "STOP_SECONDS", 3600.0)
    assert asyncio.run(asyncio.wait_for(leave(), 60)) is None
