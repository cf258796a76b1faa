"""A crew of ledgers shares what waits, and keeps each partition in its order."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable

from faust.types import TP

from schemas.errors import MustStop, SteppedOver
from schemas.events import SESSION_ATTENDANCE
from sinks.batch import Recorded
from sinks.positions import Partition, Position
from streams.consumer import Chunk
from streams.crew import WORTH_SHARING, Bounds
from streams.intake import Gathered
from streams.recorder import Recorder
from streams.telemetry import Telemetry
from tests.streams.records import records_at

FIRST, SECOND, THIRD = (TP(SESSION_ATTENDANCE, partition) for partition in range(3))


class Held:
    """A ledger that keeps what it is given until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.may_go_on = threading.Event()

    def record(self, gathered: Gathered) -> Recorded:
        self.batches.append([(record.partition, record.offset) for record in gathered.records])
        assert self.may_go_on.wait(60)
        return Recorded(recorded=len(gathered.records))

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def take_over(partitions: Iterable[Partition], _generation: int) -> dict[Partition, Position]:
    return {where: Position(0, 1, "cluster/topic", 100) for where in partitions}


def chunk(tp: TP, offsets: range, generation: int = 1) -> Chunk:
    records = records_at(tp, offsets)
    return Chunk(tp, generation, offsets.start, len(records), records)


class Crewed:
    """A recorder with two ledgers that hold what they are given."""

    def __init__(self, bounds: Bounds) -> None:
        self.ledgers = [Held(), Held()]
        waiting = iter(self.ledgers)
        self.recorder = Recorder(lambda: next(waiting), take_over, bounds, Telemetry())
        self.acknowledged: list[tuple[int, int]] = []
        self.recorder.acknowledge = lambda tp, offset: self.acknowledged.append((tp.partition, offset))

    def gather(self, tp: TP, offsets: range, generation: int = 1) -> None:
        self.recorder.gather(SESSION_ATTENDANCE, chunk(tp, offsets, generation))

    async def begun(self, batches: int) -> None:
        """Wait until so many batches are with the ledgers."""
        while sum(len(ledger.batches) for ledger in self.ledgers) < batches:  # noqa: ASYNC110  threads add to them
            await asyncio.sleep(0.001)

    async def idle(self) -> None:
        """Wait until no ledger has anything to do."""
        while not self.recorder._crew.idle:  # noqa: ASYNC110  threads answer
            await asyncio.sleep(0.001)

    async def finish(self) -> None:
        for ledger in self.ledgers:
            ledger.may_go_on.set()
        await self.recorder.finish()

    @property
    def batches(self) -> list[list[tuple[int, int]]]:
        return [batch for ledger in self.ledgers for batch in ledger.batches]


def play(part: Callable[[Crewed], Awaitable[None]], **bounds: int) -> Crewed:
    async def played() -> Crewed:
        crewed = Crewed(Bounds(ledgers=2, **bounds))
        await crewed.recorder.take_over([FIRST, SECOND], 1)
        await part(crewed)
        await crewed.recorder.stop()
        return crewed

    return asyncio.run(asyncio.wait_for(played(), 60))


def test_a_partition_is_with_one_ledger_at_a_time_and_asks_for_no_more_than_a_batch() -> None:
    async def part(crewed: Crewed) -> None:
        recorder = crewed.recorder
        assert recorder.has_room(FIRST)
        crewed.gather(FIRST, range(12))
        assert not recorder.has_room(FIRST)
        assert recorder.has_room(SECOND)
        recorder.start()
        await crewed.begun(1)
        assert not recorder.has_room(FIRST), "seven are left, and five are a batch"
        crewed.gather(FIRST, range(12, 14))
        crewed.gather(SECOND, range(2))
        await crewed.begun(2)
        assert sorted(crewed.batches) == [[(0, offset) for offset in range(5)], [(1, 0), (1, 1)]]
        await crewed.finish()
        assert recorder.has_room(FIRST)

    crewed = play(part, batch_events=5)
    assert sorted(batch for batch in crewed.batches if batch[0][0] == 0) == [
        [(0, offset) for offset in range(first, min(first + 5, 14))] for first in (0, 5, 10)
    ]


def test_partitions_that_wait_for_every_ledger_leave_no_room_for_others() -> None:
    async def part(crewed: Crewed) -> None:
        await crewed.recorder.take_over([FIRST, SECOND, THIRD], 2)
        for tp in (FIRST, SECOND, THIRD):
            assert crewed.recorder.has_room(tp)
            crewed.gather(tp, range(4), 2)
        assert not crewed.recorder.has_room(THIRD), "twelve wait, and two ledgers take ten"

    play(part, batch_events=5)


def test_what_was_fetched_before_a_rebalance_is_dropped_and_read_again() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(3))
        crewed.recorder.start()
        await crewed.begun(1)
        await crewed.finish()
        await crewed.recorder.take_over([FIRST], 2)
        crewed.gather(FIRST, range(3, 6), 1)
        crewed.gather(FIRST, range(3), 2)
        await crewed.begun(2)
        await crewed.finish()
        assert not crewed.recorder.failure.done()

    assert [batch for batch in play(part).batches if batch] == [[(0, 0), (0, 1), (0, 2)]] * 2


def test_what_little_waits_one_ledger_takes_whole() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(10))
        crewed.gather(SECOND, range(10))
        crewed.recorder.start()
        await crewed.begun(1)
        await crewed.finish()

    crewed = play(part)
    assert [len(batch) for batch in crewed.batches] == [20]


def test_when_much_waits_each_ledger_takes_its_share() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(WORTH_SHARING))
        crewed.gather(SECOND, range(WORTH_SHARING))
        crewed.recorder.start()
        await crewed.begun(2)
        await crewed.finish()

    crewed = play(part)
    assert [len(ledger.batches) for ledger in crewed.ledgers] == [1, 1]


def test_a_batch_has_room_for_so_many_bytes_and_so_has_what_waits_for_it() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(2))
        assert crewed.recorder.has_room(FIRST)
        crewed.gather(FIRST, range(2, 12))
        assert not crewed.recorder.has_room(FIRST)
        crewed.gather(SECOND, range(12))
        crewed.recorder.start()
        await crewed.begun(2)
        await crewed.finish()
        assert crewed.recorder.has_room(FIRST)

    # Each record has a byte of key and two of value.
    crewed = play(part, batch_bytes=15)
    assert [len(batch) for batch in sorted(crewed.batches)] == [5, 5, 2, 5, 5, 2]


def test_after_a_failure_nothing_is_recorded_any_more_nor_acknowledged() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(12))
        crewed.recorder.start()
        await crewed.begun(1)
        crewed.recorder.fail(MustStop("it is over"))
        crewed.gather(SECOND, range(3))
        await crewed.finish()
        await crewed.idle()

    crewed = play(part, batch_events=5)
    assert crewed.batches == [[(0, offset) for offset in range(5)]]
    assert crewed.acknowledged == []


def test_what_got_lost_on_the_way_ends_the_recorder_and_nothing_that_came_with_it_is_taken_in() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.recorder.gather(SESSION_ATTENDANCE, chunk(FIRST, range(3))._replace(fetched=4))
        assert isinstance(crewed.recorder.failure.result(), SteppedOver)
        crewed.gather(SECOND, range(3))
        crewed.recorder.start()

    assert play(part).batches == []


def test_what_is_claimed_after_the_end_is_not_taken_in() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.recorder.fail(MustStop("enough"))
        await crewed.recorder.take_over([FIRST], 2)
        crewed.gather(FIRST, range(3), 2)
        assert crewed.recorder.stopped_partitions() == []
        assert crewed.recorder._tenures.of(FIRST, 2) is None

    play(part)


def test_what_is_recorded_is_acknowledged_up_to_its_end() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(7))
        crewed.recorder.start()
        await crewed.begun(1)
        assert crewed.acknowledged == []
        await crewed.finish()

    assert play(part, batch_events=5).acknowledged == [(0, 5), (0, 7)]


def test_whoever_waits_for_a_partition_does_not_wait_for_a_full_outbox() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.recorder.hold(holding=True)
        crewed.gather(FIRST, range(3))
        crewed.recorder.start()
        await crewed.finish()

    assert [len(batch) for batch in play(part).batches] == [3]


def test_a_position_follows_past_what_is_empty_with_the_records_before_it_or_by_itself() -> None:
    async def part(crewed: Crewed) -> None:
        crewed.gather(FIRST, range(3))
        crewed.recorder.saw(FIRST, 1, (3, 5), 5)
        crewed.recorder.saw(SECOND, 1, (0, 4), 4)
        crewed.recorder.start()
        await crewed.finish()

    crewed = play(part)
    assert (crewed.batches, sorted(crewed.acknowledged)) == ([[(0, 0), (0, 1), (0, 2)]], [(0, 5), (1, 4)])
