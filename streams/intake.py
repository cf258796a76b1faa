"""The intake: takes records as they came off a topic, and has the ledger record what they say.

It stands in the ledger's own process, so that parsing and hashing are done there too.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from schemas.errors import TooManyDeadLetters
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks.batch import Batch, Checkpoint, Claim, Coordinates, Delivery, Origin, Recorded, RuleChange
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
    timestamp_ms: int | None


class Gathered(NamedTuple):
    """Records in the order to apply them, and the specializations that they may name.

    A worker's come with claims, a replay's with a checkpoint.
    """

    records: Sequence[Record]
    claims: Sequence[Claim]
    specializations: frozenset[str]
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What records are read for, which all of an intake's batches share; as in `Batch` and `Delivery`."""

    origin: Origin = "event"
    announce: bool = True
    rule_change: RuleChange | None = None


AS_THEY_COME: Final = Purpose()
"""What a worker reads them for."""


def deliver(record: Record, specializations: Collection[str], *, announce: bool = True) -> Delivery:
    """The record as the ledger takes it: parsed and hashed."""
    topic, partition, offset, log_id, key, value, headers, timestamp_ms = record
    parsed = parse(topic, key, value, timestamp_ms, specializations)
    hashed = b"" if type(parsed) is Refused else payload_hash(parsed)
    where = Coordinates(topic, partition, offset, log_id)
    return Delivery(parsed, where, hashed, key, value, headers, timestamp_ms, announce=announce)


class Intake:
    """Records what was gathered, in its order. Not to be shared between threads.

    More than `dead_letters_in_a_row` records of a topic that cannot be read are no dead letters: something else is
    wrong, and nothing of that batch is recorded.
    """

    def __init__(self, ledger: Ledger, *, dead_letters_in_a_row: int, purpose: Purpose = AS_THEY_COME) -> None:
        self._ledger = ledger
        self._limit = dead_letters_in_a_row
        self._purpose = purpose
        self._refused_in_a_row: Counter[str] = Counter()

    def record(self, gathered: Gathered) -> Recorded:
        """Record it, whole and once, and say by count how it came out. Raises what the ledger raises."""
        records, claims, specializations, checkpoint = gathered
        purpose = self._purpose
        deliveries = [deliver(record, specializations, announce=purpose.announce) for record in records]
        self._count_refused(records, deliveries)
        batch = Batch(deliveries, claims, purpose.origin, checkpoint=checkpoint, rule_change=purpose.rule_change)
        return replace(self._ledger.record(batch), decisions=())

    def close(self) -> None:
        """Give the ledger's connection back."""
        self._ledger.close()

    def _count_refused(self, records: Sequence[Record], deliveries: Sequence[Delivery]) -> None:
        in_a_row = self._refused_in_a_row
        for record, delivery in zip(records, deliveries, strict=True):
            parsed = delivery.parsed
            if type(parsed) is not Refused:
                in_a_row[record.topic] = 0
                continue
            in_a_row[record.topic] += 1
            if in_a_row[record.topic] > self._limit:
                message = (
                    f"{record.topic}: more than {self._limit} dead letters in a row, so it is not the events; "
                    f"the last one is {parsed.reason}: {parsed.detail}"
                )
                raise TooManyDeadLetters(message)
