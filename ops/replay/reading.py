"""Reads the range of a replay: off the live group, committed records only, several partitions in the order of time."""

from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Final

from confluent_kafka import Message

from ops.oracle import Record as Found
from ops.replay.request import Part, Request
from ops.verification.log import LogReader, Partition, Stretch
from schemas.events import CREDIT_TRANSFERS, EVENT_TOPICS, CreditTransfer
from schemas.parse import parse
from schemas.settings import Settings
from sinks.batch import Delivery
from streams.intake import Record, deliver

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

    def headers(self, record: Found) -> Headers:
        """The headers of a record that `next` just handed out; to be asked for once."""
        return self._headers.pop((record.topic, record.partition, record.offset), ())

    def _record(self, message: Message, where: Partition, offset: int) -> Found:
        headers = message.headers()
        if headers:
            self._headers[where[0], where[1], offset] = headers
        return super()._record(message, where, offset)


def in_order(reader: RangeReader, parts: Collection[Part]) -> Iterator[Record]:
    """The records of `parts` as they were produced: each partition in its order, among partitions by time.

    How the records of two partitions follow each other does not depend on which others are read with them, so that any
    share of the partitions comes in the order that all of them have.
    """
    log_ids = {(part.topic, part.partition): part.log_id for part in parts}
    heads = []
    for part in parts:
        found = reader.next((part.topic, part.partition))
        if found is not None:
            heads.append((found.timestamp_ms or 0, _RANKS[part.topic], part.partition, found))
    heapify(heads)
    while heads:
        _, rank, partition, found = heads[0]
        topic, _, offset, key, value, timestamp_ms = found
        log_id = log_ids[topic, partition]
        yield Record(topic, partition, offset, log_id, key, value, reader.headers(found), timestamp_ms)
        following = reader.next((topic, partition))
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following.timestamp_ms or 0, rank, partition, following))


def choice(request: Request, specializations: Collection[str]) -> Callable[[Record], bool]:
    """Tells the records of the users that the request names: theirs by the key, and the transfers that they receive."""
    users = frozenset(request.users)
    keys = frozenset(str(user_id).encode() for user_id in users)

    def is_chosen(record: Record) -> bool:
        if not keys or record.key in keys:
            return True
        if record.topic != CREDIT_TRANSFERS:
            return False
        event = parse(record.topic, record.key, record.value, record.timestamp_ms, specializations)
        return isinstance(event, CreditTransfer) and event.receiver_id in users

    return is_chosen


def read_range(
    settings: Settings, request: Request, specializations: Collection[str], advanced: Callable[[int], None]
) -> Iterator[list[Delivery]]:
    """All that the request asks for, in portions to be foreseen; `advanced` is told how many records each took."""
    is_chosen = choice(request, specializations)
    reader = RangeReader(settings, request.parts)
    try:
        records = in_order(reader, request.parts)
        while read := list(islice(records, AT_ONCE)):
            yield [deliver(record, specializations) for record in read if is_chosen(record)]
            advanced(len(read))
    finally:
        reader.close()
