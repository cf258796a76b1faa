"""Tenures: what this worker holds of each partition, from its claim until the partition is revoked.

A tenure follows the chain of records: every record says where the one before it ended, and that is where the tenure
stands. So a record that got lost anywhere between the fetch and the ledger is noticed, whatever lost it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from faust.types import TP

from schemas.errors import SteppedOver
from sinks.batch import Claim
from sinks.positions import Position


@dataclass(slots=True, kw_only=True, eq=False)
class Tenure:
    """One partition, held in one epoch.

    `next_offset` is what comes next to be gathered, `claimed` where the next batch begins, `recorded` what is
    committed. `empty_from` to `empty_to`
    is the last stretch that the consumer found to hold no committed record; `end_offset` the log's end as last seen.
    """

    topic: str
    partition: int
    log_id: str
    epoch: int
    generation: int
    next_offset: int
    claimed: int
    recorded: int
    end_offset: int
    empty_from: int = 0
    empty_to: int = 0
    stopped: str | None = None

    def follow(self, from_offset: int, offset: int) -> bool:
        """Whether the record at `offset` is the next one; False if it was gathered before.

        `from_offset` is where the record before it ended. Raises `SteppedOver` when that is beyond where we stand.
        """
        if offset < self.next_offset:
            return False
        if from_offset > self.next_offset:
            message = (
                f"{self.topic}[{self.partition}]: the record at {offset} follows {from_offset}, "
                f"but what comes next is {self.next_offset}"
            )
            raise SteppedOver(message)
        self.next_offset = offset + 1
        return True

    def saw_empty(self, from_offset: int, to_offset: int) -> None:
        """Remember that no committed record stands in `from_offset` up to but not including `to_offset`."""
        self.empty_from, self.empty_to = from_offset, to_offset

    @property
    def may_move(self) -> bool:
        """Whether nothing is on its way and an empty stretch lies ahead."""
        return self.claimed == self.next_offset and self.empty_from <= self.claimed < self.empty_to

    def claim_to(self, end: int) -> Claim | None:
        """The claim that takes the position to `end`, and past what is known to be empty there; None for no move."""
        if self.empty_from <= end < self.empty_to:
            end = self.empty_to
            self.next_offset = max(self.next_offset, end)
        if end <= self.claimed:
            return None
        begin, self.claimed = self.claimed, end
        self.end_offset = max(self.end_offset, end)
        return Claim(self.topic, self.partition, self.epoch, begin, end, self.end_offset)


class Tenures:
    """All tenures of this worker in one generation of its consumer group."""

    def __init__(self) -> None:
        self._held: Mapping[TP, Tenure] = {}

    def __iter__(self) -> Iterator[Tenure]:
        return iter(self._held.values())

    def begin(self, tenures: Mapping[TP, Tenure]) -> None:
        """Hold these partitions, by the names that Kafka knows them by, and no others."""
        self._held = tenures

    def end(self) -> None:
        """Hold nothing any more: what is still on its way here is not ours to record."""
        self._held = {}

    def of(self, tp: TP, generation: int | None) -> Tenure | None:
        """The tenure that a record fetched in `generation` belongs to, or None if that one is over."""
        tenure = self._held.get(tp)
        return tenure if tenure is not None and tenure.generation == generation else None


def tenure_from(topic: str, partition: int, position: Position, generation: int) -> Tenure:
    """The tenure that a claimed position begins."""
    return Tenure(
        topic=topic,
        partition=partition,
        log_id=position.log_id,
        epoch=position.epoch,
        generation=generation,
        next_offset=position.next_offset,
        claimed=position.next_offset,
        recorded=position.next_offset,
        end_offset=position.end_offset,
        stopped=position.stopped,
    )
