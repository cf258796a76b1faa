"""Faust's consumer, made to read from Postgres's positions, only what is committed, and cheaply.

None of what is overridden here is Faust's public interface: its version is pinned, and the tests that kill and
rebalance workers run on this module.

What differs from the consumer that Faust brings:

- On every assignment the partitions are claimed in Postgres and sought to where that says. Kafka's committed offset is
  written as a hint for Kafka's own tools, and never read.
- `read_committed`, and no automatic reset: a position that the log does not hold is an error and not a jump.
- Every message carries the link to the one before it, and stretches without committed records are reported.
- Acknowledging is by position, after the commit in Postgres, and not by message.
- Messages go from the fetch to the agents' queues as they are: Faust's own way builds four tasks and an event for each.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, cast

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ServiceT
from faust.types.tuples import ConsumerMessage
from mode import Service

from schemas.errors import SteppedOver
from streams.tenures import Tenure

FETCH_SECONDS: Final = 0.5
ROOM_SECONDS: Final = 0.002
YIELD_EVERY: Final = 200
"""Messages handed over before the event loop gets a turn, so that timers and commits are not starved."""


class Pipeline(Protocol):
    """What the consumer needs of the rest of the worker. All of it is called on the event loop."""

    async def take_over(self, partitions: Iterable[TP], generation: int) -> dict[TP, Tenure]:
        """Claim exactly these partitions; where to read on in each."""

    def give_up(self) -> None:
        """Take nothing more in for the partitions held."""

    async def finish(self) -> None:
        """Wait until everything that was taken in is recorded."""

    def saw(self, tp: TP, generation: int, empty: tuple[int, int] | None, end_offset: int) -> None:
        """A stretch of the partition that holds no committed record, and where its log ends."""


class LinkedMessage(ConsumerMessage):
    """A message that knows where the record before it ended."""

    from_offset: int
    timestamp_ms: int
    raw_headers: Sequence[tuple[str, bytes]]
    """As they came: Faust makes a mapping of them, and a header may come twice."""


class Fetched(NamedTuple):
    """What one fetch brought: records per partition, what each of them follows, and what was found empty."""

    generation: int
    records: Mapping[TP, list[aiokafka.ConsumerRecord]]
    links: Mapping[TP, int]
    empty: Mapping[TP, tuple[int, int]]
    ends: Mapping[TP, int]


NOTHING = Fetched(-1, {}, {}, {}, {})


class ReadingApp(Protocol):
    """The Faust app, with what this consumer is configured by."""

    pipeline: Pipeline
    consumer_settings: Mapping[str, Any]


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Forgets the chain of records as soon as an assignment changes: it begins anew at the claimed positions."""

    async def on_partitions_assigned(self, assigned: Iterable[aiokafka.TopicPartition]) -> None:
        """Hold back what is fetched until the claimed positions were sought."""
        cast("ConsumerThread", self._thread).forget()
        await super().on_partitions_assigned(assigned)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Everything here runs in the consumer's own thread."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._rebalance_listener = RebalanceListener(self)
        self._chain: dict[TP, tuple[int, int]] = {}
        """Per partition where the last record ended, and where the next fetch begins."""

    def forget(self) -> None:
        """Forget where records ended: nothing is handed out until the next `seek_chain`."""
        self._chain = {}

    def _create_worker_consumer(self, _transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RangePartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            # By range: partitions of the same number hold the same users on every topic, and so go to the same worker.
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=500,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=5_000,
            **cast("ReadingApp", self.app).consumer_settings,
        )

    async def seek_chain(self, positions: Mapping[TP, int], stopped: Iterable[TP]) -> None:
        """Begin the chain of records anew at `positions`, and fetch nothing of the `stopped` partitions."""
        await self.call_thread(self._seek_chain, positions, stopped)

    async def _seek_chain(self, positions: Mapping[TP, int], stopped: Iterable[TP]) -> None:
        consumer = self._ensure_consumer()
        for tp in stopped:
            consumer.pause(_partition(tp))
        for tp, offset in positions.items():
            consumer.seek(_partition(tp), offset)
            self._chain[tp] = (offset, offset)

    async def fetch(self, active: set[TP]) -> Fetched:
        """What was fetched of the `active` partitions, after waiting a moment if there is nothing."""
        return cast("Fetched", await self.call_thread(self._fetch, active))

    async def _fetch(self, active: set[TP]) -> Fetched:
        consumer = self._ensure_consumer()
        subscription = consumer._subscription.subscription  # noqa: SLF001
        if not self.consumer.flow_active or subscription is None or subscription.assignment is None:
            return NOTHING
        if consumer._closed or consumer._fetcher._closed:  # noqa: SLF001
            raise ConsumerStoppedError
        self._check_chain(subscription.assignment)
        try:
            with consumer._subscription.fetch_context():  # noqa: SLF001
                found = await consumer._fetcher.fetched_records(  # noqa: SLF001
                    {_partition(tp) for tp in active},
                    timeout=FETCH_SECONDS,
                    max_records=consumer._max_poll_records,  # noqa: SLF001
                )
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            # A partition that was assigned and not sought yet: what Kafka's own offset for it says is not our concern.
            if any(TP(*tp) in self._chain for tp in _concerned(error)):
                raise
            return NOTHING
        # This thread's listener sets the generation and empties the chain: what no chain knows was fetched from
        # wherever Kafka's own committed offset stands, before our positions were sought.
        records = {TP(*tp): batch for tp, batch in found.items() if tp in self._chain}
        return self._linked(records, consumer)

    def _check_chain(self, assignment: Any) -> None:
        """Refuse to read on from a place that nobody sought and no record led to."""
        for tp, (_, went_to) in self._chain.items():
            if assignment.active and _partition(tp) in assignment.tps:
                state = assignment.state_value(_partition(tp))
                if state.has_valid_position and state.position != went_to:
                    message = f"{tp.topic}[{tp.partition}]: the consumer stands at {state.position}, not at {went_to}"
                    raise SteppedOver(message)

    def _linked(self, records: Mapping[TP, list[aiokafka.ConsumerRecord]], consumer: Any) -> Fetched:
        links: dict[TP, int] = {}
        empty: dict[TP, tuple[int, int]] = {}
        ends: dict[TP, int] = {}
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001
        for tp, (ended, went_to) in list(self._chain.items()):
            if not assignment.active or _partition(tp) not in assignment.tps:
                continue
            state = assignment.state_value(_partition(tp))
            if not state.has_valid_position:
                continue
            links[tp] = ended
            batch = records.get(tp)
            end = batch[-1].offset + 1 if batch else ended
            if state.position > end and (batch or state.position != went_to):
                empty[tp] = (end, state.position)
            self._chain[tp] = (end, state.position)
            ends[tp] = state.highwater or 0
        return Fetched(self.app.consumer_generation_id, records, links, empty, ends)


def _concerned(error: NoOffsetForPartitionError | OffsetOutOfRangeError) -> Iterable[aiokafka.TopicPartition]:
    """The partitions that the error is about."""
    (about,) = error.args
    return [about] if isinstance(error, NoOffsetForPartitionError) else about


def _partition(tp: TP) -> aiokafka.TopicPartition:
    return aiokafka.TopicPartition(tp.topic, tp.partition)


class Consumer(driver.Consumer):
    """The consumer on the event loop's side."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pipeline = cast("ReadingApp", self.app).pipeline
        self._acknowledged: dict[TP, int] = {}
        self._claimed: dict[TP, Tenure] | None = None
        self._claiming = asyncio.Lock()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Assignment

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Claim what is assigned, if that is still to be done, and seek to where Postgres's positions stand."""
        async with self._claiming:
            if self._claimed is None:
                self._claimed = await self._pipeline.take_over(self.assignment(), self.app.consumer_generation_id)
            stopped = [tp for tp, tenure in self._claimed.items() if tenure.stopped]
            positions = {tp: tenure.next_offset for tp, tenure in self._claimed.items() if not tenure.stopped}
            await self._thread.seek_chain(positions, stopped)
            return positions

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Take nothing more in, finish what was, and claim anew on the next assignment."""
        self._pipeline.give_up()
        self._claimed = None
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
        return await self._commit(ours) if ours else False

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
        return await self._thread.fetch(active)

    async def _hand_over(self, fetched: Fetched) -> None:
        handed = 0
        for tp, records in fetched.records.items():
            link = fetched.links[tp]
            # One agent per topic, so one channel; and what it reads is its queue.
            (channel,) = cast("Conductor", self.app.topics)._tp_index[tp]  # noqa: SLF001
            queue = channel.queue
            for record in records:
                # Looked at again and again rather than waited for: a rebalance empties the queues under whoever waits.
                while queue.full() and self._still(fetched.generation):  # noqa: ASYNC110
                    await asyncio.sleep(ROOM_SECONDS)
                if not self._still(fetched.generation):
                    return
                queue.put_nowait(self._message(tp, record, fetched.generation, link))
                link = record.offset + 1
                handed += 1
                if handed % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        if self._still(fetched.generation):
            for tp, end_offset in fetched.ends.items():
                self._pipeline.saw(tp, fetched.generation, fetched.empty.get(tp), end_offset)

    def _still(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation

    def _message(self, tp: TP, record: aiokafka.ConsumerRecord, generation: int, link: int) -> LinkedMessage:
        message = LinkedMessage(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp / 1000.0,
            record.timestamp_type,
            None,
            record.key,
            record.value,
            record.checksum,
            record.serialized_key_size,
            record.serialized_value_size,
            tp,
            generation_id=generation,
        )
        message.from_offset = link
        message.timestamp_ms = record.timestamp
        message.raw_headers = record.headers
        return message

    async def verify_all_partitions_active(self) -> None:
        """Leave liveness to the age of the last commit in Postgres: Faust's figures come from sensors we do without."""


class Transport(driver.Transport):
    """Faust's Kafka transport with this consumer."""

    Consumer: ClassVar[type[Consumer]] = Consumer
