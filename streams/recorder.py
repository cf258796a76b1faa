"""The recorder: natural group commit between the agents and the ledger.

While one batch is being committed, the next one gathers; an idle ledger takes at once what there is. So there is no
waiting when little comes, batches are large under load, and the buffer between the two is bounded.

A crew of ledgers, each in a process of its own, shares the work. What cannot be recorded ends all of them: nothing after
it is touched.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from faust.types import TP

from schemas.errors import LaurelsError, MustStop, SteppedOver, TooManyDeadLetters
from sinks.batch import Claim, Recorded
from sinks.failpoints import failpoint
from sinks.positions import Partition, Position
from streams.consumer import Chunk
from streams.crew import Bounds, Crew
from streams.intake import Gathered, Record
from streams.ledger_thread import Records
from streams.telemetry import Telemetry
from streams.tenures import Tenure, Tenures, tenure_from

TakeOver = Callable[[Iterable[Partition], int], dict[Partition, Position]]


class Abandoned(MustStop):
    """A batch took longer than a worker may take to leave. Whoever gets the partitions next reads it again."""


class Recorder:
    """Gathers records for the ledger; to the consumer it is the pipeline. All of it runs on the event loop.

    `failure` is done with what ended it. `acknowledge` is told how far a partition is recorded.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Records],
        take_over: TakeOver,
        bounds: Bounds,
        telemetry: Telemetry,
        *,
        topic_prefix: str = "",
    ) -> None:
        self._take_over = take_over
        self._bounds = bounds
        self._telemetry = telemetry
        self._prefix = topic_prefix
        self.specializations: frozenset[str] = frozenset()
        self.acknowledge: Callable[[TP, int], None] = lambda _tp, _offset: None
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tenures = Tenures()
        self._crew = Crew(open_ledger, bounds, self)
        self._settled = asyncio.Event()
        self._settled.set()
        self._dead_in_a_row = 0

    # The worker

    def start(self) -> None:
        """Begin to record."""
        self._crew.start()

    async def stop(self) -> None:
        """End. A ledger that is still at work is left to end with this process, and to the fence."""
        await self._crew.stop()

    def hold(self, *, holding: bool) -> None:
        """Begin no further batch while `holding`: the outbox is full, and the relay must catch up first."""
        self._crew.hold(holding=holding)

    def fail(self, error: BaseException) -> None:
        """End: nothing more is taken in, and nothing that is in hand is acknowledged."""
        if self.failure.done():
            return
        self.failure.set_result(error)
        self._tenures.end()
        self._crew.drop()
        self._settled.set()

    def abandon(self) -> None:
        """Wait no longer for what is in hand, if anything is."""
        if not self._settled.is_set():
            self.fail(Abandoned("the worker had to leave before what it had in hand was recorded"))

    def stopped_partitions(self) -> list[Partition]:
        """The partitions that are held and not read, until somebody accepts what is missing there."""
        return [(tenure.topic, tenure.partition) for tenure in self._tenures if tenure.stopped]

    # The consumer

    async def take_over(self, partitions: Iterable[TP], generation: int) -> dict[TP, Tenure]:
        """Claim exactly these partitions; where to read on in each."""
        wanted = {(tp.topic.removeprefix(self._prefix), tp.partition): tp for tp in partitions}
        claimed = await asyncio.to_thread(self._take_over, wanted, generation) if wanted else {}
        tenures = {wanted[where]: tenure_from(*where, position, generation) for where, position in claimed.items()}
        if not self.failure.done():
            self._tenures.begin(tenures)
            self._telemetry.holds(tenures.values())
        return tenures

    def give_up(self) -> None:
        """Take nothing more in for the partitions held."""
        self._tenures.end()

    async def finish(self) -> None:
        """Wait until everything that was taken in is recorded, or never will be."""
        # Whoever waits for these partitions would wait for the outbox too.
        self.hold(holding=False)
        await self._settled.wait()

    def has_room(self, tp: TP) -> bool:
        """Whether more of this partition may be read now."""
        return self._crew.has_room(tp.partition)

    def saw(self, tp: TP, generation: int, empty: tuple[int, int] | None, end_offset: int) -> None:
        """Follow the consumer over a stretch that holds no committed record, unless records are on their way."""
        tenure = self._tenures.of(tp, generation)
        if tenure is None:
            return
        tenure.end_offset = max(tenure.end_offset, end_offset)
        if empty is not None:
            tenure.saw_empty(*empty)
        if tenure.may_move:
            self._busy()
            self._crew.follow(tenure)
        self._telemetry.lags(tenure)

    # The agents

    def gather(self, topic: str, chunk: Chunk) -> None:
        """Take these records of `topic` in, in their order, if their partition is still held."""
        tenure = self._tenures.of(chunk.tp, chunk.generation)
        if tenure is None:
            return
        try:
            self._take_in(tenure, topic, chunk)
        except LaurelsError as error:
            self.fail(error)

    def _take_in(self, tenure: Tenure, topic: str, chunk: Chunk) -> None:
        if len(chunk.records) != chunk.fetched:
            message = f"{topic}[{chunk.tp.partition}]: {chunk.fetched} records came, and {len(chunk.records)} are left"
            raise SteppedOver(message)
        link = chunk.from_offset
        for record in chunk.records:
            if tenure.follow(link, record.offset):
                self._busy()
                where = (topic, record.partition, record.offset, tenure.log_id)
                self._crew.add(tenure, Record(*where, record.key, record.value, record.headers, record.timestamp))
            link = record.offset + 1

    # The crew

    def recorded(
        self, gathered: Gathered, claims: Sequence[tuple[Tenure, Claim]], recorded: Recorded, seconds: float
    ) -> None:
        """A batch is committed: acknowledge it."""
        for tenure, claim in claims:
            tenure.recorded = claim.next_offset
            self._telemetry.lags(tenure)
            self.acknowledge(TP(self._prefix + claim.topic, claim.partition), claim.next_offset)
        self._telemetry.committed(len(gathered.records), recorded, seconds)
        failpoint("after_ack")
        useful = recorded.recorded + recorded.duplicates + recorded.stale
        self._dead_in_a_row = 0 if useful else self._dead_in_a_row + recorded.dead_letters
        limit = self._bounds.dead_letters_in_a_row
        if self._dead_in_a_row > limit:
            raise TooManyDeadLetters(
                f"more than {limit} dead letters in a row, so it is not the events; `laurels dlq list` shows them"
            )
        self.settle()

    def settle(self) -> None:
        """Whoever waits for everything to be recorded may go on, if it is."""
        if self._crew.idle:
            self._telemetry.settled()
            self._settled.set()

    def _busy(self) -> None:
        if self._settled.is_set() and not self.failure.done():
            self._settled.clear()
            self._telemetry.busy()
