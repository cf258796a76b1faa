"""A season's records as upstream services would publish them, deterministic by seed, streamed in time order.

They are the academy's facts, some of them repeated, some corrected later, with poison between where it is asked for.
"""

import heapq
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

from msgspec import json

from ops.academy import Academy
from ops.poison import make_poison
from schemas.events import EVENT_TOPICS, event_subject
from schemas.rewards import RefusalReason

DELAY_LINES: Final = 2_000
"""Corrections and repetitions come at most so many lines later."""

_TOPICS: Final = {kind: topic for topic, kind in EVENT_TOPICS.items()}
_encode = json.Encoder().encode

LineKind = Literal["event", "duplicate", "correction", "poison"]


class SeasonLine(NamedTuple):
    """One record of a season. `reason` is why poison must be refused, None for everything else."""

    kind: LineKind
    topic: str
    key: bytes
    value: bytes | None
    reason: RefusalReason | None = None

    def to_json(self) -> bytes:
        """The line that `laurels publish` reads; poison travels as `raw` bytes, because it need not be JSON at all."""
        if self.kind != "poison" and self.value is not None:
            return b'{"topic":"%b","event":%b}' % (self.topic.encode(), self.value)
        raw = None if self.value is None else b64encode(self.value).decode()
        return _encode({"topic": self.topic, "key": self.key.decode(), "raw": raw, "reason": self.reason})


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonSpec:
    """How large a season is, and which fractions of its records are repeated, corrected and poison.

    Ids count from `first_id`, so that seasons of one academy need not share users and tournaments.
    """

    users: int = 200
    tournaments: int = 20
    sessions: int = 100
    seed: int = 1
    duplicates: float = 0.05
    corrections: float = 0.02
    poison: float = 0.0
    first_id: int = 1


def generate_season(spec: SeasonSpec) -> Iterator[SeasonLine]:
    """The season's records, in the order to publish them. What is delayed comes after what it speaks of."""
    academy = Academy(
        users=spec.users,
        tournaments=spec.tournaments,
        sessions=spec.sessions,
        seed=spec.seed,
        corrections=spec.corrections,
        first_id=spec.first_id,
    )
    rng = Random(f"disturbances of {spec.seed}")
    delayed: list[tuple[int, int, SeasonLine]] = []
    poisoned = number = 0

    def delay(line: SeasonLine) -> None:
        heapq.heappush(delayed, (number + 1 + int(rng.random() * DELAY_LINES), number, line))

    for number, fact in enumerate(academy.facts()):
        while delayed and delayed[0][0] <= number:
            yield heapq.heappop(delayed)[2]
        topic = _TOPICS[type(fact.event)]
        kind: LineKind = "correction" if fact.corrected else "event"
        line = SeasonLine(kind, topic, b"%d" % event_subject(fact.event), _encode(fact.event))
        if fact.corrected:
            delay(line)
            continue
        yield line
        if rng.random() < spec.duplicates:
            delay(line._replace(kind="duplicate"))
        if rng.random() < spec.poison:
            made = make_poison(topic, fact.event, poisoned)
            poisoned += 1
            yield SeasonLine("poison", *made)
    yield from (line for _, _, line in sorted(delayed, key=lambda due: due[:2]))
