"""Faust's consumer, made to read from Postgres's positions, only what is committed, and cheaply.

None of what is overridden here is Faust's public interface: its version is pinned, and the tests that kill and
rebalance workers run on this module.

What differs from the consumer that Faust brings:

- On every assignment the partitions are claimed in Postgres and sought to where that says. Kafka's committed offset is
  written as a hint for Kafka's own tools, and never read.
- `read_committed`, and no automatic reset: a position that the log does not hold is an error and not a jump.
- Records carry the link to the one before them, and stretches without committed records are reported.
- Acknowledging is by position, after the commit in Postgres, and not by message.
- Records go from the fetch to the agents' queues as they are, many at once: Faust's own way builds four tasks and an event
  for each.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, cast

import aiokafka
from aiokafka.errors import ConsumerStoppedError
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ServiceT
from mode import Service

from streams.fetching import FETCH_SECONDS, NOTHING, ConsumerThread, Fetched
from streams.tenures import Tenure

ROOM_SECONDS: Final = 0.01
"""How long until it is looked again whether there is room: far less than the batches that wait then take."""
QUEUE_SECONDS: Final = 0.002
CHUNK: Final = 500
"""Records handed over at most before the event loop gets a turn, so that timers and commits are not starved."""


class Pipeline(Protocol):
    """What the consumer needs of the rest of the worker. All of it is called on the event loop."""

    async def take_over(self, partitions: Iterable[TP], generation: int) -> dict[TP, Tenure]:
        """Claim exactly these partitions; where to read on in each."""

    def give_up(self) -> None:
        """Take nothing more in for the partitions held."""

    async def finish(self) -> None:
        """Wait until everything that was taken in is recorded."""

    def has_room(self, tp: TP) -> bool:
        """Whether more of this partition may be read now."""

    def saw(self, tp: TP, generation: int, empty: tuple[int, int] | None, end_offset: int) -> None:
        """A stretch of the partition that holds no committed record, and where its log ends."""


class Chunk(NamedTuple):
    """Records of one partition as they came, fetched in one generation.

    `from_offset` is where the record before the first one ended, and `fetched` how many there were, should one get lost.
    """

    tp: TP
    generation: int
    from_offset: int
    fetched: int
    records: Sequence[aiokafka.ConsumerRecord]

    @property
    def next_offset(self) -> int:
        """Where its last record ends."""
        return int(self.records[-1].offset) + 1


class ReadingApp(Protocol):
    """The Faust app, as far as the consumer needs it."""

    pipeline: Pipeline


class Consumer(driver.Consumer):
    """The consumer on the event loop's side."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pipeline = cast("ReadingApp", self.app).pipeline
        self._acknowledged: dict[TP, int] = {}
        self._claimed: dict[TP, Tenure] | None = None
        self._revocations = 0
        self._claiming = asyncio.Lock()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Assignment

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Claim what is assigned, if that is still to be done, and seek to where Postgres's positions stand."""
        async with self._claiming:
            if self._claimed is None:
                revocations = self._revocations
                claimed = await self._pipeline.take_over(self.assignment(), self.app.consumer_generation_id)
                if revocations != self._revocations:
                    # Revoked while we claimed: the next assignment claims anew.
                    self._pipeline.give_up()
                    return {}
                self._claimed = claimed
            stopped = {tp: tenure.next_offset for tp, tenure in self._claimed.items() if tenure.stopped}
            positions = {tp: tenure.next_offset for tp, tenure in self._claimed.items() if not tenure.stopped}
            await self._thread.seek_chain(positions, stopped)
            return positions

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Take nothing more in, finish what was, and claim anew on the next assignment."""
        self._pipeline.give_up()
        self._claimed = None
        self._revocations += 1
        # Faust waits for it as well, but not in a worker that was told to leave.
        await self._pipeline.finish()
        await super().on_partitions_revoked(revoked)

    async def wait_empty(self) -> None:
        """Wait until everything taken in is recorded, then tell Kafka how far that was."""
        self._pipeline.give_up()
        await self._pipeline.finish()
        await self.commit()

    # Acknowledging

    def acknowledge(self, tp: TP, next_offset: int) -> None:
        """Everything before `next_offset` is recorded in Postgres; Kafka hears of it with the next commit."""
        self._acknowledged[tp] = next_offset

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Tell Kafka how far we have recorded: a hint for its tools and for lag figures, nothing we rely on."""
        del topics, start_new_transaction
        acknowledged, self._acknowledged = self._acknowledged, {}
        ours = {tp: offset for tp, offset in acknowledged.items() if tp in self.assignment()}
        if not ours or self.app.crashed:
            # The consumer's own thread ends with a crashed app, and what is asked of it then nobody answers.
            return False
        try:
            return await self._commit(ours)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            # The thread ended under the commit. Whoever leaves because of that must get to leave.
            return False

    # Reading

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        stopping = cast("Service", fetcher)
        try:
            while not (self.should_stop or stopping.should_stop):
                fetched = await self._next_fetched()
                await self._hand_over(fetched)
        except ConsumerStoppedError:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def _next_fetched(self) -> Fetched:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # asyncio's event will do
        active = self._get_active_partitions()
        if not active:
            await asyncio.sleep(0.1)
            return NOTHING
        # What there is no room for stays in the fetcher, and keeps nothing else waiting behind it.
        wanted = {tp for tp in active if self._pipeline.has_room(tp)}
        if not wanted:
            await asyncio.sleep(ROOM_SECONDS)
            return NOTHING
        return await self._thread.fetch(wanted, FETCH_SECONDS if wanted == active else ROOM_SECONDS)

    async def _hand_over(self, fetched: Fetched) -> None:
        handed = 0
        for tp, records in fetched.records.items():
            link = fetched.links[tp]
            # One agent per topic, so one channel; and what it reads is its queue.
            (channel,) = cast("Conductor", self.app.topics)._tp_index[tp]  # noqa: SLF001
            queue = channel.queue
            for first in range(0, len(records), CHUNK):
                # Looked at again and again rather than waited for: a rebalance empties the queues under whoever waits.
                while queue.full() and self._still(fetched.generation):  # noqa: ASYNC110
                    await asyncio.sleep(QUEUE_SECONDS)
                if not self._still(fetched.generation):
                    return
                part = records[first : first + CHUNK]
                chunk = Chunk(tp, fetched.generation, link, len(part), part)
                queue.put_nowait(chunk)
                link = chunk.next_offset
                # Not before: what came together is best recorded together.
                handed += len(part)
                if handed >= CHUNK:
                    handed = 0
                    await asyncio.sleep(0)
        if self._still(fetched.generation):
            for tp, end_offset in fetched.ends.items():
                self._pipeline.saw(tp, fetched.generation, fetched.empty.get(tp), end_offset)

    def _still(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation

    async def verify_all_partitions_active(self) -> None:
        """Leave liveness to the age of the last commit in Postgres: Faust's figures come from sensors we do without."""


def _is_cancelled() -> bool:
    """Whether it is the current task that somebody cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Transport(driver.Transport):
    """Faust's Kafka transport with this consumer."""

    Consumer: ClassVar[type[Consumer]] = Consumer
