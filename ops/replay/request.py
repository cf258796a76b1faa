"""What a replay is asked for: topics, partitions, a range of each, users; made definite before anything is read."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import typer
from confluent_kafka import Consumer, KafkaException, TopicPartition
from msgspec import Struct
from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from schemas.settings import Settings
from sinks.position_moves import ListedPosition, list_positions
from sinks.positions import LogState, Partition
from streams.logs import Logs

Bound = int | datetime | None
"""An offset, a time, or None for as far as there is anything."""

Live = Mapping[Partition, ListedPosition]
"""Where the live group stands, by partition."""

ANSWER_SECONDS: Final = 30.0


class Part(Struct, frozen=True):
    """The offsets of one partition's log to replay, `start` up to but not including `end`."""

    topic: str
    partition: int
    log_id: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The partition as checkpoints name it."""
        return f"{self.topic}/{self.partition}"


class Request(Struct, frozen=True, kw_only=True):
    """A replay, definite: later events change nothing about it.

    With `ruleset`, the hash of one, what is recorded is decided again by it. `ruleset_content` is that in canonical JSON as
    long as no table holds it.
    """

    parts: tuple[Part, ...]
    users: tuple[int, ...] = ()
    rate: int | None = None
    parallel: int = 2
    announce: bool = False
    plan: str | None = None
    ruleset: str | None = None
    ruleset_content: str | None = None
    allow_decrease: bool = False

    @property
    def events(self) -> int:
        """How many offsets there are to read."""
        return sum(part.end - part.start for part in self.parts)


def parse_bound(text: str | None, option: str, now: datetime) -> Bound:
    """An offset or a time as somebody typed it."""
    if text is None or text in {"earliest", "live"}:
        return None
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text} is neither an offset nor a time such as 2026-03-01T10:00:00Z"
        raise typer.BadParameter(message, param_hint=option) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment > now:
        message = f"{text} is in the future"
        raise typer.BadParameter(message, param_hint=option)
    return moment


def parse_partitions(text: str | None) -> frozenset[int] | None:
    """Partitions as `0,2,5-7`; None for all."""
    if text is None:
        return None
    chosen: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", item.strip())
        if match is None:
            message = f"{text} is not a list of partitions such as 0,2,5-7"
            raise typer.BadParameter(message, param_hint="--partitions")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            message = f"{item.strip()} ends before it begins"
            raise typer.BadParameter(message, param_hint="--partitions")
        chosen.update(range(first, last + 1))
    return frozenset(chosen)


def find_live(cursor: Cursor, group: str, topics: Sequence[str], partitions: frozenset[int] | None) -> Live:
    """Where the live group stands in the partitions that are meant. Raises `LaurelsError` where it has read nothing."""
    live = {
        (position.topic, position.partition): position
        for position in list_positions(cursor, group, None)
        if position.topic in topics and (partitions is None or position.partition in partitions)
    }
    if not live:
        where = "" if partitions is None else f" in partitions {', '.join(map(str, sorted(partitions)))}"
        message = f"group {group} has read nothing of {', '.join(topics)}{where}: nothing can be replayed"
        raise LaurelsError(message)
    return live


def find_parts(settings: Settings, live: Live, *, start: Bound, end: Bound) -> tuple[Part, ...]:
    """The stretches to read, none beyond where the live group stands. Raises `LaurelsError` where there is nothing."""
    states = Logs(settings.librdkafka(), prefix=settings.topic_prefix, timeout_seconds=ANSWER_SECONDS).states(live)
    bounds = _Bounds(settings, states)
    starts, ends = bounds.offsets(start), bounds.offsets(end)
    parts = []
    for where, position in sorted(live.items()):
        state = states[where]
        if state.log_id != position.log_id:
            message = f"{where[0]}[{where[1]}] is another log than the one that was read: see `laurels positions list`"
            raise LaurelsError(message)
        first = max(state.start_offset, starts.get(where, 0))
        last = min(state.end_offset, position.next_offset, ends.get(where, position.next_offset))
        if first < last:
            parts.append(Part(*where, state.log_id, first, last))
    if not parts:
        raise LaurelsError("there is nothing between --from and --to that the live group has read: the range is empty")
    return tuple(parts)


def check_logs(settings: Settings, parts: Collection[Part]) -> None:
    """Raise `LaurelsError` where the logs are no longer the ones that the parts are of."""
    logs = Logs(settings.librdkafka(), prefix=settings.topic_prefix, timeout_seconds=ANSWER_SECONDS)
    states = logs.states([(part.topic, part.partition) for part in parts])
    for part in parts:
        state = states[part.topic, part.partition]
        if state.log_id != part.log_id or state.start_offset > part.start:
            message = f"{part.topic}[{part.partition}]@{part.start} is gone from the log: make a new plan"
            raise LaurelsError(message)


class _Bounds:
    """Turns bounds into offsets."""

    def __init__(self, settings: Settings, states: dict[Partition, LogState]) -> None:
        self._settings = settings
        self._states = states

    def offsets(self, bound: Bound) -> dict[Partition, int]:
        """Where `bound` is in each partition; where it is none, nothing is said."""
        if bound is None:
            return {}
        if isinstance(bound, int):
            return dict.fromkeys(self._states, bound)
        return self._offsets_at(bound)

    def _offsets_at(self, moment: datetime) -> dict[Partition, int]:
        prefix, millis = self._settings.topic_prefix, int(moment.timestamp() * 1000)
        settings = {**self._settings.librdkafka(), "group.id": "laurels-looks", "enable.auto.commit": False}
        consumer = Consumer(settings)
        try:
            asked = [TopicPartition(prefix + topic, partition, millis) for topic, partition in self._states]
            found = consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            message = f"the broker does not say which offsets are at {moment:%Y-%m-%d %H:%M:%S}: {error}"
            raise LaurelsError(message) from error
        finally:
            consumer.close()
        offsets = {}
        for answer in found:
            where = answer.topic.removeprefix(prefix), answer.partition
            offsets[where] = answer.offset if answer.offset >= 0 else self._states[where].end_offset
        return offsets
