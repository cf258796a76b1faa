"""The consumer's own thread: fetches, and follows the chain of records from the positions that were sought."""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol, cast

import aiokafka
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.errors import SteppedOver

FETCH_WAIT_MS: Final = 50
"""A broker that has nothing answers after so long, and sooner when something comes. Not longer: while some partitions'
records wait for room it is asked about the others, and only once it has answered about all."""
FETCH_SECONDS: Final = 0.5


class Fetched(NamedTuple):
    """What one fetch brought: records per partition, what each of them follows, and what was found empty."""

    generation: int
    records: Mapping[TP, list[aiokafka.ConsumerRecord]]
    links: Mapping[TP, int]
    empty: Mapping[TP, tuple[int, int]]
    ends: Mapping[TP, int]


NOTHING: Final = Fetched(-1, {}, {}, {}, {})


class Configured(Protocol):
    """The Faust app, as far as this thread needs it."""

    consumer_settings: Mapping[str, Any]
    fetch_every_seconds: float


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Forgets the chain of records as soon as an assignment changes: it begins anew at the claimed positions.

    So nothing is handed out from the moment partitions are revoked until the claimed positions were sought, whatever
    Faust thinks of whether messages may flow.
    """

    def on_partitions_revoked(self, revoked: Iterable[aiokafka.TopicPartition]) -> Awaitable[None]:
        """Hand nothing more out of what is revoked."""
        cast("ConsumerThread", self._thread).forget()
        return super().on_partitions_revoked(revoked)

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
        configured: Configured = cast("Any", self.app)
        self._assignor = RangePartitionAssignor
        consumer = aiokafka.AIOKafkaConsumer(
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
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=5_000,
            **configured.consumer_settings,
        )
        _pace(consumer._client, configured.fetch_every_seconds)  # noqa: SLF001
        return consumer

    def close(self) -> None:
        """Leave the client open, which this thread closes when it stops.

        Faust asks for this when partitions move while the app stops. Closed then, the client would be closed under the
        last commit, which would try again without end; and the group would not be told that its member leaves.
        """

    async def seek_chain(self, positions: Mapping[TP, int], stopped: Mapping[TP, int]) -> None:
        """Begin the chain of records anew at `positions`, and stand at those of the `stopped` without fetching."""
        await self.call_thread(self._seek_chain, positions, stopped)

    async def _seek_chain(self, positions: Mapping[TP, int], stopped: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in stopped.items():
            consumer.pause(_partition(tp))
            # Standing nowhere, it would have Kafka's own offset looked up without end, and the others wait for that.
            consumer.seek(_partition(tp), offset)
        for tp, offset in positions.items():
            consumer.seek(_partition(tp), offset)
            self._chain[tp] = (offset, offset)

    async def fetch(self, wanted: set[TP], seconds: float) -> Fetched:
        """What was fetched of the `wanted` partitions, after waiting for so long if there is nothing."""
        return cast("Fetched", await self.call_thread(self._fetch, wanted, seconds))

    async def _fetch(self, wanted: set[TP], seconds: float) -> Fetched:
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
                    {_partition(tp) for tp in wanted},
                    timeout=seconds,
                    max_records=consumer._max_poll_records,  # noqa: SLF001
                )
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            # A partition that was assigned and not sought yet: what Kafka's own offset for it says is not our concern.
            if any(TP(*tp) in self._chain for tp in _concerned(error)):
                raise
            return NOTHING
        return self._linked({TP(*tp): batch for tp, batch in found.items()}, subscription.assignment)

    def _check_chain(self, assignment: Any) -> None:
        """Refuse to read on from a place that nobody sought and no record led to."""
        for tp, (_, went_to) in self._chain.items():
            if assignment.active and _partition(tp) in assignment.tps:
                state = assignment.state_value(_partition(tp))
                if state.has_valid_position and state.position != went_to:
                    message = f"{tp.topic}[{tp.partition}]: the consumer stands at {state.position}, not at {went_to}"
                    raise SteppedOver(message)

    def _linked(self, found: Mapping[TP, list[aiokafka.ConsumerRecord]], assignment: Any) -> Fetched:
        """What was found, as far as it follows the chain.

        What no chain knows was fetched from wherever Kafka's own committed offset stands, before our positions were
        sought. The listener, on this very thread, sets the generation and empties the chain.
        """
        records: dict[TP, list[aiokafka.ConsumerRecord]] = {}
        links: dict[TP, int] = {}
        empty: dict[TP, tuple[int, int]] = {}
        ends: dict[TP, int] = {}
        for tp, (ended, went_to) in list(self._chain.items()):
            if not assignment.active or _partition(tp) not in assignment.tps:
                continue
            state = assignment.state_value(_partition(tp))
            if not state.has_valid_position:
                continue
            end, batch = ended, found.get(tp)
            if batch:
                records[tp], links[tp] = batch, ended
                end = batch[-1].offset + 1
            if state.position > end and (batch or state.position != went_to):
                empty[tp] = (end, state.position)
            self._chain[tp] = (end, state.position)
            ends[tp] = state.highwater or 0
        return Fetched(self.app.consumer_generation_id, records, links, empty, ends)


def _pace(client: AIOKafkaClient, every_seconds: float) -> None:
    """Have `client` keep so long between two fetches from one broker.

    Asked at once, a broker would answer for every single record: thousands of fetches a second would keep it and us busy,
    and every record waiting for them.
    """
    send = client.send
    due: dict[int, float] = {}

    async def send_in_time(node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            # The fetcher has at most one request on its way to each broker, and this one counts as such.
            await asyncio.sleep(max(due.get(node_id, 0.0) - time.monotonic(), 0.0))
            due[node_id] = time.monotonic() + every_seconds
        return await send(node_id, request, **options)

    client.send = send_in_time


def _concerned(error: NoOffsetForPartitionError | OffsetOutOfRangeError) -> Iterable[aiokafka.TopicPartition]:
    """The partitions that the error is about."""
    (about,) = error.args
    return [about] if isinstance(error, NoOffsetForPartitionError) else about


def _partition(tp: TP) -> aiokafka.TopicPartition:
    return aiokafka.TopicPartition(tp.topic, tp.partition)
