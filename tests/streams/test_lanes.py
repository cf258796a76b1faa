"""Lanes: each gathers for a ledger of its own, no more than one batch ahead, and in order."""

import asyncio
import threading
from collections.abc import Iterable

from faust.types import TP

from schemas.events import SESSION_ATTENDANCE
from sinks.batch import Recorded
from sinks.positions import Partition, Position
from streams.consumer import LinkedMessage
from streams.intake import Gathered
from streams.lane import Bounds
from streams.recorder import Recorder
from streams.telemetry import Telemetry

FIRST, SECOND = TP(SESSION_ATTENDANCE, 0), TP(SESSION_ATTENDANCE, 1)


class Held:
    """A ledger that keeps what it is given until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()

    def record(self, gathered: Gathered) -> Recorded:
        self.batches.append([record.offset for record in gathered.records])
        assert self.may_go_on.wait(10)
        return Recorded(recorded=len(gathered.records))

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def take_over(partitions: Iterable[Partition], _generation: int) -> dict[Partition, Position]:
    return {where: Position(0, 1, "cluster/topic", 100) for where in partitions}


def message(tp: TP, offset: int) -> LinkedMessage:
    made = LinkedMessage(tp.topic, tp.partition, offset, 0.0, 0, None, b"1", b"{}", None, 1, 2, tp, generation_id=1)
    made.from_offset, made.timestamp_ms, made.raw_headers = offset, 0, ()
    return made


def test_a_lane_takes_one_batch_at_a_time_and_asks_for_no_more_than_another() -> None:
    ledgers = [Held(), Held()]

    async def played() -> None:
        waiting = iter(ledgers)
        recorder = Recorder(lambda: next(waiting), take_over, Bounds(lanes=2, batch_events=5), Telemetry())
        recorder.start()
        await recorder.take_over([FIRST, SECOND], 1)
        assert recorder.has_room(FIRST)
        await recorder.gather(SESSION_ATTENDANCE, [message(FIRST, offset) for offset in range(12)])
        assert not recorder.has_room(FIRST)
        assert recorder.has_room(SECOND)
        while not ledgers[0].batches:  # noqa: ASYNC110  its thread sets it
            await asyncio.sleep(0.001)
        assert not recorder.has_room(FIRST), "seven are left, and five are a batch"
        ledgers[0].may_go_on.set()
        await recorder.finish()
        assert recorder.has_room(FIRST)
        await recorder.stop()

    asyncio.run(played())
    assert ledgers[0].batches == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    assert ledgers[1].batches == []
