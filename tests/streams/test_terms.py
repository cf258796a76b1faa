"""How often a worker joins its group again before it says that something else is wrong."""

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.errors import MustStop
from streams import worker
from streams.watch import Rejoin
from streams.worker import STEADY_SECONDS, TERMS_AT_MOST, Worker


@dataclass
class Terms:
    """Terms that end after so long, each one by having to join again; after so many the worker is told to stop."""

    seconds: float
    at_most: int
    stop: asyncio.Event
    began: int = 0
    now: float = 0.0

    def __call__(self, _place: object) -> "Terms":
        self.began += 1
        return self

    async def serve(self, _stop: asyncio.Event) -> BaseException | None:
        self.now += self.seconds
        if self.began == self.at_most:
            self.stop.set()
        return Rejoin("partitions are claimed anew")

    def monotonic(self) -> float:
        return self.now


class Joining(Worker):
    """A worker without services."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._telemetry = cast("Any", SimpleNamespace(rejoined=lambda _why: None))

    async def _workplace(self) -> Any:
        return None


async def join(terms: Terms, joining: Joining) -> None:
    terms.stop = joining._stop
    await joining._serve_terms()


def serve(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> Terms:
    """Serve up to a hundred terms of so many seconds."""
    terms = Terms(seconds, 100, asyncio.Event())
    monkeypatch.setattr(worker, "Term", terms)
    monkeypatch.setattr(worker, "time", terms)
    no_pause = SimpleNamespace(next_seconds=lambda: 0.0, reset=lambda: None)
    monkeypatch.setattr(worker, "Backoff", lambda **_bounds: no_pause)
    asyncio.run(join(terms, Joining()))
    return terms


def test_a_worker_that_never_stays_stops_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MustStop, match=f"{TERMS_AT_MOST + 1} times in a row without staying: partitions are claimed"):
        serve(monkeypatch, seconds=1.0)


def test_terms_that_lasted_do_not_count_against_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve(monkeypatch, seconds=STEADY_SECONDS + 1).began == 100
