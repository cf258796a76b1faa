"""From records to batches, without Kafka and without Faust: what a worker does with a record once it has its bytes."""

from collections.abc import Collection, Mapping
from contextlib import closing

from psycopg2.extensions import connection as Connection

from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks import positions
from sinks.batch import Batch, Claim, Coordinates, Delivery
from sinks.database import Connect
from sinks.ledger import Identity
from sinks.ledger.rulesets import fetch_levels
from sinks.positions import LogState, Partition, Position


def claim(connect: Connect, identity: Identity, logs: Mapping[Partition, LogState]) -> dict[Partition, Position]:
    """Take the partitions over, as a worker does when they are assigned to it."""
    with closing(connect()) as connection, connection, connection.cursor() as cursor:
        return positions.claim(cursor, identity.group, identity.owner, 1, logs)


def fetch_specializations(connect: Connect) -> Collection[str]:
    """The specializations that events may name."""
    connection: Connection
    with closing(connect()) as connection, connection, connection.cursor() as cursor:
        return fetch_levels(cursor).keys()


class Gatherer:
    """Parses records of the `held` partitions, and makes batches of them. Not to be shared between threads."""

    def __init__(self, held: Mapping[Partition, Position], specializations: Collection[str]) -> None:
        self._held = held
        self._specializations = specializations
        self._claimed = {where: position.next_offset for where, position in held.items()}
        self._ends: dict[Partition, int] = {}
        self._deliveries: list[Delivery] = []

    def __len__(self) -> int:
        return len(self._deliveries)

    def add(
        self, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, timestamp_ms: int
    ) -> None:
        """Parse a record for the next batch."""
        parsed = parse(topic, key, value, timestamp_ms, self._specializations)
        hashed = b"" if isinstance(parsed, Refused) else payload_hash(parsed)
        where = Coordinates(topic, partition, offset, self._held[topic, partition].log_id)
        self._deliveries.append(Delivery(parsed, where, hashed, key, value, (), timestamp_ms))
        self._ends[topic, partition] = offset + 1

    def take(self) -> Batch:
        """What was gathered since the last time."""
        claims = []
        for (topic, partition), end in self._ends.items():
            begin, self._claimed[topic, partition] = self._claimed[topic, partition], end
            claims.append(Claim(topic, partition, self._held[topic, partition].epoch, begin, end, end))
        batch = Batch(self._deliveries, claims)
        self._deliveries, self._ends = [], {}
        return batch
