"""What the pipeline hands to the ledger: deliveries in order, and the stretch of each partition that they cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec import Struct

from schemas.events import Event
from schemas.rewards import Decision, Refused
from schemas.ruleset import Ruleset
from sinks.audit import AuditEntry
from sinks.outbox import OutboxMessage

Origin = Literal["event", "http", "cli", "replay"]


class Coordinates(Struct, frozen=True, gc=False):
    """Where in which log a record stands. `log_id` is `{cluster id}/{topic id}`."""

    topic: str
    partition: int
    offset: int
    log_id: str


class Standing(NamedTuple):
    """The levels a user has in one specialization, by progress and by license; None for a side that is missing."""

    specialization: str
    progress: int | None
    license: int | None


class Delivery(Struct, frozen=True, gc=False):
    """One record as it was read: what it says, and, for a dead letter, what it was.

    `coordinates` is None for what never was on a topic (HTTP, CLI); `publication` is then the message by which it gets
    to its own topic once it is decided. With `only_if` it is applied only while its user still stands like that.
    Without `announce` its message on `reward-entries` says that the user is not to be notified.
    """

    parsed: Event | Refused
    coordinates: Coordinates | None
    payload_hash: bytes = b""
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    publication: OutboxMessage | None = None
    announce: bool = True
    only_if: Standing | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A stretch of a partition, `from_offset` up to but not including `next_offset`, read by `owner` in `epoch`.

    `end_offset` is the log's end as last seen. A stretch may hold fewer records than offsets (transaction markers,
    aborted and compacted records), and none at all when an idle position follows the consumer past such offsets.
    """

    topic: str
    partition: int
    epoch: int
    from_offset: int
    next_offset: int
    end_offset: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a replay has come with this batch: by `topic/partition`, the offset it goes on from."""

    run_id: str
    next_offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """By which ruleset a replay decides again what was recorded, and whether anybody may lose by it."""

    run_id: str
    ruleset: Ruleset
    allow_decrease: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Deliveries in the order to apply them, and the claims they come with (none for HTTP, CLI and replay).

    `audit` is written in the same transaction, if it decides anything: for what a person or a service asked for.
    `checkpoint` is written in it too, and refuses the batch when its replay no longer runs. With `rule_change`, what was
    recorded by another ruleset is adjusted to the one there.
    """

    deliveries: Sequence[Delivery]
    claims: Sequence[Claim] = ()
    origin: Origin = "event"
    audit: AuditEntry | None = None
    checkpoint: Checkpoint | None = None
    rule_change: RuleChange | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a batch came out: by count, and delivery by delivery (None for rosters, which decide no reward).

    What is `adjusted` counts as a duplicate, too: its event was recorded before.
    """

    recorded: int = 0
    duplicates: int = 0
    stale: int = 0
    dead_letters: int = 0
    adjusted: int = 0
    decisions: Sequence[Decision | None] = ()

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(
            recorded=self.recorded + other.recorded,
            duplicates=self.duplicates + other.duplicates,
            stale=self.stale + other.stale,
            dead_letters=self.dead_letters + other.dead_letters,
            adjusted=self.adjusted + other.adjusted,
            decisions=[*self.decisions, *other.decisions],
        )
