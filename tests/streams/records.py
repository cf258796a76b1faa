"""Records as the consumer fetches them."""

from collections.abc import Iterable

from aiokafka import ConsumerRecord
from faust.types import TP


def records_at(tp: TP, offsets: Iterable[int]) -> list[ConsumerRecord]:
    """A record of the partition at each of the offsets."""
    return [ConsumerRecord(tp.topic, tp.partition, offset, 0, 0, b"1", b"{}", None, 1, 2, ()) for offset in offsets]
