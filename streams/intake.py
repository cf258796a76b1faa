"""The intake: takes records as they came off a topic, and has the ledger record what they say.

It stands in the ledger's own process, so that parsing and hashing are done there too.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from schemas.errors import TooManyDeadLetters
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks.batch import Batch, Claim, Coordinates, Delivery, Recorded
from sinks.ledger import Ledger


class Record(NamedTuple):
    """One record as it came, and where it stands. `log_id` is as in `Coordinates`."""

    topic: str
    partition: int
    offset: int
    log_id: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int


class Gathered(NamedTuple):
    """Records in the order to apply them, the claims they come with, and the specializations that they may name."""

    records: Sequence[Record]
    claims: Sequence[Claim]
    specializations: frozenset[str]


class Intake:
    """Records what was gathered, in its order. Not to be shared between threads.

    More than `dead_letters_in_a_row` records of a topic that cannot be read are no dead letters: something else is
    wrong, and nothing of that batch is recorded.
    """

    def __init__(self, ledger: Ledger, *, dead_letters_in_a_row: int) -> None:
        self._ledger = ledger
        self._limit = dead_letters_in_a_row
        self._refused_in_a_row: Counter[str] = Counter()

    def record(self, gathered: Gathered) -> Recorded:
        """Record it, whole and once, and say by count how it came out. Raises what the ledger raises."""
        specializations = gathered.specializations
        deliveries = [self._read(record, specializations) for record in gathered.records]
        recorded = self._ledger.record(Batch(deliveries, gathered.claims))
        return replace(recorded, decisions=())

    def close(self) -> None:
        """Give the ledger's connection back."""
        self._ledger.close()

    def _read(self, record: Record, specializations: Collection[str]) -> Delivery:
        topic, partition, offset, log_id, key, value, headers, timestamp_ms = record
        parsed = parse(topic, key, value, timestamp_ms, specializations)
        if type(parsed) is Refused:
            self._count_refused(topic, parsed)
            hashed = b""
        else:
            self._refused_in_a_row[topic] = 0
            hashed = payload_hash(parsed)
        where = Coordinates(topic, partition, offset, log_id)
        return Delivery(parsed, where, hashed, key, value, headers, timestamp_ms)

    def _count_refused(self, topic: str, refused: Refused) -> None:
        self._refused_in_a_row[topic] += 1
        if self._refused_in_a_row[topic] > self._limit:
            message = (
                f"{topic}: more than {self._limit} dead letters in a row, so it is not the events; "
                f"the last one is {refused.reason}: {refused.detail}"
            )
            raise TooManyDeadLetters(message)
