"""From records to what a ledger takes, without Kafka and without Faust."""

from collections.abc import Mapping

from sinks import positions
from sinks.batch import Claim
from sinks.database import Connect, transaction
from sinks.ledger import Identity
from sinks.ledger.rulesets import fetch_levels
from sinks.positions import LogState, Partition, Position
from streams.intake import Gathered, Record


def claim(connect: Connect, identity: Identity, logs: Mapping[Partition, LogState]) -> dict[Partition, Position]:
    """Take the partitions over, as a worker does when they are assigned to it."""
    with transaction(connect) as cursor:
        return positions.claim(cursor, identity.group, identity.owner, 1, logs)


def fetch_specializations(connect: Connect) -> frozenset[str]:
    """The specializations that events may name."""
    with transaction(connect) as cursor:
        return frozenset(fetch_levels(cursor))


class Gatherer:
    """Gathers records of the `held` partitions. Not to be shared between threads."""

    def __init__(self, held: Mapping[Partition, Position], specializations: frozenset[str]) -> None:
        self._held = held
        self._specializations = specializations
        self._claimed = {where: position.next_offset for where, position in held.items()}
        self._ends: dict[Partition, int] = {}
        self._records: list[Record] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(
        self, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, timestamp_ms: int
    ) -> None:
        """Take a record in for the next batch."""
        log_id = self._held[topic, partition].log_id
        self._records.append(Record(topic, partition, offset, log_id, key, value, (), timestamp_ms))
        self._ends[topic, partition] = offset + 1

    def take(self) -> Gathered:
        """What was gathered since the last time."""
        claims = []
        for (topic, partition), end in self._ends.items():
            begin, self._claimed[topic, partition] = self._claimed[topic, partition], end
            claims.append(Claim(topic, partition, self._held[topic, partition].epoch, begin, end, end))
        gathered = Gathered(self._records, claims, self._specializations)
        self._records, self._ends = [], {}
        return gathered
