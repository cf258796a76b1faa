"""The chain of records, from the positions that were sought to what is handed out."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import ConsumerStoppedError
from faust.types import TP

from schemas.errors import SteppedOver
from schemas.events import SESSION_ATTENDANCE
from streams.fetching import ConsumerThread, Fetched, RebalanceListener
from tests.streams.records import records_at

HELD = TP(SESSION_ATTENDANCE, 0)
GENERATION = 3


@dataclass
class Standing:
    """Where aiokafka's consumer stands in a partition."""

    position: int
    has_valid_position: bool = True
    highwater: int = 100


@dataclass
class Assignment:
    """What aiokafka's consumer was assigned, as far as we look at it."""

    standing: Standing
    active: bool = True
    tps: set[TP] = field(default_factory=lambda: {HELD})

    def state_value(self, _tp: TP) -> Standing:
        return self.standing


class Sought(ConsumerThread):
    """A consumer's thread without the thread and the consumer: what it does with what was fetched."""

    def __init__(self, *, at: int) -> None:
        self.app = cast("Any", SimpleNamespace(consumer_generation_id=GENERATION, on_rebalance_start=lambda: None))
        self._chain = {HELD: (at, at)}
        self._standing = SimpleNamespace(_coordinator=SimpleNamespace(generation=GENERATION + 1))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Tell nobody."""

    async def on_partitions_assigned(self, assigned: set[TP], generation: int = 0) -> None:
        """Tell nobody."""

    def _ensure_consumer(self) -> Any:
        return self._standing

    def fetch_at(self, position: int, *, closed: bool = False) -> Fetched:
        """Fetch with a consumer that stands there, and finds nothing."""

        async def fetched_records(_wanted: set[TP], **_bounds: Any) -> dict[TP, list[ConsumerRecord]]:
            return {}

        self.consumer = cast("Any", SimpleNamespace(flow_active=True))
        self._standing = SimpleNamespace(
            _closed=closed,
            _max_poll_records=None,
            _fetcher=SimpleNamespace(_closed=False, fetched_records=fetched_records),
            _subscription=SimpleNamespace(
                subscription=SimpleNamespace(assignment=Assignment(Standing(position))), fetch_context=nullcontext
            ),
        )
        return asyncio.run(self._fetch({HELD}, 0))

    def fetched(self, assignment: Assignment, *offsets: int) -> Fetched:
        """What is handed out of records with these offsets."""
        records = records_at(HELD, offsets)
        found: Mapping[TP, list[ConsumerRecord]] = {HELD: records} if records else {}
        return self._linked(found, assignment)


def test_a_record_is_linked_to_where_the_one_before_it_ended() -> None:
    thread = Sought(at=10)
    assert thread.fetched(Assignment(Standing(12)), 10, 11).links == {HELD: 10}
    assert thread.fetched(Assignment(Standing(16)), 14, 15).links == {HELD: 12}
    assert thread.fetched(Assignment(Standing(17)), 16).links == {HELD: 16}


def test_a_single_marker_after_records_is_told_as_empty() -> None:
    thread = Sought(at=10)
    assert thread.fetched(Assignment(Standing(13)), 10, 11).empty == {HELD: (12, 13)}


def test_a_stretch_without_records_is_told_once() -> None:
    thread = Sought(at=10)
    assert thread.fetched(Assignment(Standing(11))).empty == {HELD: (10, 11)}
    assert thread.fetched(Assignment(Standing(11))).empty == {}
    assert thread.fetched(Assignment(Standing(13))).empty == {HELD: (10, 13)}
    assert thread.fetched(Assignment(Standing(14)), 13).links == {HELD: 10}


@pytest.mark.parametrize("standing", [9, 11])
def test_a_consumer_that_stands_where_nobody_sought_it_has_stepped_over(standing: int) -> None:
    with pytest.raises(SteppedOver, match=f"stands at {standing}, not at 10"):
        Sought(at=10).fetch_at(standing)
    assert Sought(at=10).fetch_at(10).records == {}


def test_a_stopped_partition_is_paused_where_its_position_stands_and_nothing_of_it_is_handed_out() -> None:
    done: list[tuple[object, ...]] = []
    thread = Sought(at=10)
    thread._chain = {}
    thread._standing = SimpleNamespace(
        pause=lambda tp: done.append(("pause", TP(*tp))), seek=lambda tp, offset: done.append(("seek", TP(*tp), offset))
    )
    other = TP(SESSION_ATTENDANCE, 1)
    asyncio.run(thread._seek_chain({HELD: 10}, {other: 3}))
    assert done == [("pause", other), ("seek", other, 3), ("seek", HELD, 10)]
    assert thread._chain == {HELD: (10, 10)}


def test_partitions_that_move_while_a_worker_leaves_do_not_close_its_client_under_the_last_commit() -> None:
    thread = Sought(at=10)
    thread._consumer = cast("Any", SimpleNamespace(_closed=False))
    app = faust.App("leaving", web_enabled=False)
    app._consumer = cast("Any", SimpleNamespace(close=thread.close))
    app._on_rebalance_when_stopped()
    assert not thread._consumer._closed


def test_a_consumer_that_was_closed_is_not_taken_for_one_that_finds_nothing() -> None:
    with pytest.raises(ConsumerStoppedError):
        Sought(at=10).fetch_at(10, closed=True)


@pytest.mark.parametrize(
    "assignment",
    [
        pytest.param(Assignment(Standing(11), active=False), id="an assignment that is over"),
        pytest.param(Assignment(Standing(11), tps=set()), id="a partition that is no longer ours"),
        pytest.param(Assignment(Standing(11, has_valid_position=False)), id="a place that is not sought yet"),
    ],
)
def test_nothing_is_handed_out_of(assignment: Assignment) -> None:
    fetched = Sought(at=10).fetched(assignment, 10)
    assert (fetched.records, fetched.links, fetched.empty, fetched.ends) == ({}, {}, {}, {})


@pytest.mark.parametrize("change", ["revoked", "assigned"])
def test_nothing_is_handed_out_from_a_change_of_the_assignment_until_positions_are_sought(change: str) -> None:
    thread = Sought(at=10)
    listener = RebalanceListener(thread)

    async def rebalance() -> None:
        await (listener.on_partitions_revoked([]) if change == "revoked" else listener.on_partitions_assigned([]))

    asyncio.run(rebalance())
    assert thread.fetched(Assignment(Standing(11)), 10).records == {}
