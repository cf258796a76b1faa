"""The consumer on the event loop's side, without Kafka: what it claims, what it hands over, and what it tells Kafka."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.events import SESSION_ATTENDANCE
from sinks.positions import Position
from streams.consumer import CHUNK, Chunk, Consumer
from streams.fetching import Fetched
from streams.tenures import Tenure, tenure_from
from tests.streams.records import records_at

HELD = TP(SESSION_ATTENDANCE, 0)
LOST = TP(SESSION_ATTENDANCE, 1)


async def committed() -> bool:
    return True


async def thread_ends() -> bool:
    """What a commit comes to whose thread ends under it."""
    raise asyncio.CancelledError


async def nobody_answers() -> bool:
    return await asyncio.get_running_loop().create_future()


class Leaving(Consumer):
    """A consumer that has something to tell Kafka, of a partition that it holds and of one that it lost."""

    def __init__(self, answer: Callable[[], Awaitable[bool]], *, crashed: bool = False) -> None:
        self.app = cast("Any", SimpleNamespace(crashed=crashed))
        self.told: list[dict[TP, int]] = []
        self._answer = answer
        self._acknowledged = {HELD: 7, LOST: 9}

    def assignment(self) -> set[TP]:
        return {HELD}

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        self.told.append(offsets)
        return await self._answer()


@pytest.mark.parametrize(("crashed", "told"), [(False, [{HELD: 7}]), (True, [])])
def test_a_consumer_whose_app_crashed_asks_nothing_of_its_thread(*, crashed: bool, told: list[dict[TP, int]]) -> None:
    consumer = Leaving(committed, crashed=crashed)
    assert asyncio.run(consumer.force_commit()) is not crashed
    assert consumer.told == told


def test_whoever_leaves_gets_to_leave_though_the_thread_ended_under_its_commit() -> None:
    assert asyncio.run(Leaving(thread_ends).force_commit()) is False


async def cancelled() -> None:
    task = asyncio.create_task(Leaving(nobody_answers).force_commit())
    await asyncio.sleep(0)
    task.cancel()
    await task


def test_a_commit_that_is_itself_cancelled_is_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


class Claiming(Consumer):
    """A consumer that is assigned one partition, and is its own pipeline; of its first claims so many are revoked."""

    def __init__(self, *, revoked: int) -> None:
        self.app = cast("Any", SimpleNamespace(consumer_generation_id=1))
        self._claiming = asyncio.Lock()
        self._claimed = None
        self._revocations = 0
        self._revoked = revoked
        self._pipeline = cast("Any", self)
        self._thread = cast("Any", self)
        self.calls: list[str] = []

    def assignment(self) -> set[TP]:
        return {HELD}

    async def take_over(self, partitions: Iterable[TP], generation: int) -> dict[TP, Tenure]:
        self.calls.append("take over")
        if self._revoked:
            self._revoked -= 1
            await self.on_partitions_revoked({HELD})
        return {tp: tenure_from(*tp, Position(7, 1, "cluster/topic", 9), generation) for tp in partitions}

    def give_up(self) -> None:
        self.calls.append("give up")

    async def finish(self) -> None:
        self.calls.append("finish")

    async def commit(self, *_: object, **__: object) -> bool:
        self.calls.append("commit")
        return True

    async def seek_chain(self, positions: dict[TP, int], stopped: dict[TP, int]) -> None:
        assert (positions, stopped) == ({HELD: 7}, {})
        self.calls.append("seek")


@pytest.fixture
def faust_revokes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def revoke(_consumer: Consumer, _revoked: set[TP]) -> None:
        """Of what Faust does then, nothing matters here."""

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", revoke)


async def seek_twice(consumer: Claiming) -> list[object]:
    return [await consumer.seek_to_committed() for _ in range(2)]


@pytest.mark.usefixtures("faust_revokes_nothing")
def test_partitions_that_are_revoked_while_they_are_claimed_are_not_read_before_they_are_claimed_anew() -> None:
    consumer = Claiming(revoked=1)
    assert asyncio.run(seek_twice(consumer)) == [{}, {HELD: 7}]
    assert consumer.calls == ["take over", "give up", "finish", "give up", "take over", "seek"]


def test_what_is_claimed_is_claimed_once_and_sought_as_often_as_faust_asks() -> None:
    consumer = Claiming(revoked=0)
    assert asyncio.run(seek_twice(consumer)) == [{HELD: 7}, {HELD: 7}]
    assert consumer.calls == ["take over", "seek", "seek"]


async def claim_again(consumer: Claiming) -> object:
    await consumer.seek_to_committed()
    await consumer.on_partitions_revoked({HELD})
    return await consumer.seek_to_committed()


@pytest.mark.usefixtures("faust_revokes_nothing")
def test_what_is_revoked_is_given_up_at_once_finished_and_claimed_anew_when_it_is_assigned_again() -> None:
    consumer = Claiming(revoked=0)
    assert asyncio.run(claim_again(consumer)) == {HELD: 7}
    assert consumer.calls == ["take over", "seek", "give up", "finish", "take over", "seek"]


def test_before_partitions_go_what_is_in_hand_is_finished_and_kafka_told() -> None:
    consumer = Claiming(revoked=0)
    asyncio.run(consumer.wait_empty())
    assert consumer.calls == ["give up", "finish", "commit"]


class Handing(Consumer):
    """A consumer that hands over to an agent whose queue has room for one chunk."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Chunk] = asyncio.Queue(1)
        index = {HELD: (SimpleNamespace(queue=self.queue),)}
        self.app = cast("Any", SimpleNamespace(consumer_generation_id=1, topics=SimpleNamespace(_tp_index=index)))
        self.flow_active = True
        self._pipeline = cast("Any", self)
        self.seen: list[object] = []

    def saw(self, *seen: object) -> None:
        self.seen.append(seen)


FETCHED = Fetched(
    1, {HELD: records_at(HELD, range(10, 10 + 3 * CHUNK))}, {HELD: 8}, {HELD: (2_000, 2_002)}, {HELD: 2_100}
)


async def hand_over(consumer: Handing, *, rebalance_after: int) -> list[Chunk]:
    """Hand over what was fetched to whoever takes chunk by chunk; another generation begins after so many."""
    handing = asyncio.create_task(consumer._hand_over(FETCHED))
    taken = []
    while not handing.done() or not consumer.queue.empty():
        if not consumer.queue.empty():
            taken.append(consumer.queue.get_nowait())
            if len(taken) == rebalance_after:
                consumer.app.consumer_generation_id = 2
        await asyncio.sleep(0.001)
    await handing
    return taken


def test_chunks_are_linked_wait_for_room_and_are_followed_by_what_was_found_empty() -> None:
    consumer = Handing()
    taken = asyncio.run(hand_over(consumer, rebalance_after=0))
    assert [(part.from_offset, part.next_offset, part.fetched) for part in taken] == [
        (8, 10 + CHUNK, CHUNK),
        (10 + CHUNK, 10 + 2 * CHUNK, CHUNK),
        (10 + 2 * CHUNK, 10 + 3 * CHUNK, CHUNK),
    ]
    assert consumer.seen == [(HELD, 1, (2_000, 2_002), 2_100)]


def test_of_what_was_fetched_before_a_rebalance_no_more_is_handed_over() -> None:
    consumer = Handing()
    assert len(asyncio.run(hand_over(consumer, rebalance_after=1))) == 1
    assert consumer.seen == []
