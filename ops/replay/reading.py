"""Reads the range of a replay: off the live group, committed records only, several partitions in the order of time."""

from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Final

from confluent_kafka import Message

from ops.oracle import Record
from ops.replay.request import Part, Request
from ops.verification.log import LogReader, Partition, Stretch
from schemas.events import CREDIT_TRANSFERS, EVENT_TOPICS, CreditTransfer
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from schemas.settings import Settings
from sinks.batch import Coordinates, Delivery

AT_ONCE: Final = 2_000
"""As many records are decided on together, where nothing is recorded."""

Headers = Sequence[tuple[str, bytes | None]]

_RANKS = {topic: rank for rank, topic in enumerate(EVENT_TOPICS)}
"""Among records of the same moment, what is earned comes before what is spent."""


class RangeReader(LogReader):
    """A `LogReader` that keeps the records' headers as well, until they are asked for."""

    def __init__(self, settings: Settings, parts: Collection[Part]) -> None:
        self._headers: dict[tuple[str, int, int], Headers] = {}
        stretches = {(part.topic, part.partition): Stretch(part.start, part.end) for part in parts}
        super().__init__(settings.librdkafka(), stretches, prefix=settings.topic_prefix)

    def headers(self, record: Record) -> Headers:
        """The headers of a record that `next` just handed out; to be asked for once."""
        return self._headers.pop((record.topic, record.partition, record.offset), ())

    def _record(self, message: Message, where: Partition, offset: int) -> Record:
        headers = message.headers()
        if headers:
            self._headers[where[0], where[1], offset] = headers
        return super()._record(message, where, offset)


def in_order(reader: RangeReader, parts: Collection[Part]) -> Iterator[tuple[Record, Headers]]:
    """The records of `parts` as they were produced: each partition in its order, among partitions by time.

    How the records of two partitions follow each other does not depend on which others are read with them, so that any
    share of the partitions comes in the order that all of them have.
    """
    heads = []
    for part in parts:
        record = reader.next((part.topic, part.partition))
        if record is not None:
            heads.append((record.timestamp_ms or 0, _RANKS[part.topic], part.partition, record))
    heapify(heads)
    while heads:
        _, rank, partition, record = heads[0]
        yield record, reader.headers(record)
        following = reader.next((record.topic, partition))
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following.timestamp_ms or 0, rank, partition, following))


class Deliveries:
    """Makes of records what the ledger takes; of those that the request leaves out, nothing."""

    def __init__(self, request: Request, specializations: Collection[str]) -> None:
        self._specializations = specializations
        self._logs = {(part.topic, part.partition): part.log_id for part in request.parts}
        self._users = frozenset(request.users)
        self._keys = frozenset(str(user_id).encode() for user_id in request.users)
        self._announce = request.announce

    def make(self, record: Record, headers: Headers) -> Delivery | None:
        """The record as a delivery, None where it is of no user that the request names."""
        filtered = self._keys and record.key not in self._keys
        if filtered and record.topic != CREDIT_TRANSFERS:
            return None
        parsed = parse(record.topic, record.key, record.value, record.timestamp_ms, self._specializations)
        if filtered and not (isinstance(parsed, CreditTransfer) and parsed.receiver_id in self._users):
            return None
        return Delivery(
            parsed,
            Coordinates(record.topic, record.partition, record.offset, self._logs[record.topic, record.partition]),
            b"" if isinstance(parsed, Refused) else payload_hash(parsed),
            record.key,
            record.value,
            headers,
            record.timestamp_ms,
            announce=self._announce,
        )


def read_range(
    settings: Settings, request: Request, specializations: Collection[str], advanced: Callable[[int], None]
) -> Iterator[list[Delivery]]:
    """All that the request asks for, in portions; `advanced` is told how many records each took."""
    deliveries = Deliveries(request, specializations)
    reader = RangeReader(settings, request.parts)
    try:
        records = in_order(reader, request.parts)
        while read := list(islice(records, AT_ONCE)):
            made = [deliveries.make(record, headers) for record, headers in read]
            yield [delivery for delivery in made if delivery is not None]
            advanced(len(read))
    finally:
        reader.close()
