"""The lines that `laurels publish` reads: JSONL, one record a line.

`{"topic": "tournament-results", "event": {...}}` is an event, sent byte for byte as it stands there; with a topic given
for the whole file a line is just the event. `{"topic": ..., "key": ..., "raw": ...}` is a record of any bytes (`raw` in
base64, null for a tombstone), sent unchecked: so a made-up season can hold poison. A line has an end: a file without
line breaks is one bad line, and not all of the memory there is.
"""

import binascii
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import BinaryIO, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.events import EVENT_TOPICS, Event, event_subject
from schemas.parse import check_delivery, read_event
from schemas.rewards import Refused

MAX_LINE_BYTES: Final = 1_000_000
"""Fifteen times what the readers of a topic take, and no more than a producer does."""


class EventLine(Struct, frozen=True):
    """A line that says an event; `value` is what to send."""

    topic: str
    event: Event
    value: bytes


class RawLine(Struct, frozen=True):
    """A line that says nothing but bytes."""

    topic: str
    key: bytes | None
    value: bytes | None


class BadLine(Struct, frozen=True):
    """A line that the readers of its topic would refuse."""

    line: int
    reason: str
    detail: str


class _Wrapper(Struct, frozen=True):
    topic: str | UnsetType = UNSET
    event: Raw | UnsetType = UNSET
    key: str | None = None
    raw: str | UnsetType | None = UNSET


_unwrap: Final = msgspec.json.Decoder(_Wrapper).decode
_MILLISECOND: Final = timedelta(milliseconds=1)


def numbered_lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Every line but the empty ones, with its number. One that is too long comes without its end."""
    number = 0
    while line := source.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE_BYTES + 1)
        content = line if rest is not line else line.strip()
        if content:
            yield number, content


class LineReader:
    """Reads lines as they would be refused or accepted at `now`. `topic` is for lines that are just events."""

    def __init__(self, topic: str | None, specializations: Collection[str], now: datetime) -> None:
        self._topic = topic
        self._specializations = specializations
        self._now_ms = int(now.timestamp() * 1000)

    def read(self, number: int, line: bytes) -> EventLine | RawLine | BadLine:
        """What the line says, or why it is bad."""
        if len(line) > MAX_LINE_BYTES:
            return BadLine(number, "no_line", f"more than {MAX_LINE_BYTES} bytes")
        if self._topic is not None:
            return self._event(number, self._topic, line, None)
        if line.startswith(BOM_UTF8):
            return BadLine(number, "no_line", "begins with a byte-order mark, which JSON does not have")
        try:
            wrapper = _unwrap(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return BadLine(number, "no_line", f"not a line of topic and event: {error}")
        if wrapper.topic is UNSET:
            return BadLine(number, "no_line", "topic: missing; where lines are just events, --topic says which topic's")
        if wrapper.topic not in EVENT_TOPICS:
            return BadLine(number, "no_line", f"topic: {wrapper.topic!a} is not one that events come on")
        match wrapper.event, wrapper.raw:
            case Raw() as event, UnsetType():
                return self._event(number, wrapper.topic, bytes(event), wrapper.key)
            case UnsetType(), None | str() as raw:
                return _raw(number, wrapper.topic, wrapper.key, raw)
            case _:
                return BadLine(number, "no_line", "needs either event or raw")

    def _event(self, number: int, topic: str, value: bytes, key: str | None) -> EventLine | BadLine:
        event = read_event(topic, value, self._specializations)
        if isinstance(event, Refused):
            return BadLine(number, event.reason, event.detail)
        sent_key = b"%d" % event_subject(event) if key is None else key.encode()
        refused = check_delivery(event, sent_key, self._now_ms)
        return EventLine(topic, event, value) if refused is None else BadLine(number, refused.reason, refused.detail)


def _raw(number: int, topic: str, key: str | None, raw: str | None) -> RawLine | BadLine:
    try:
        value = None if raw is None else b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        return BadLine(number, "no_line", f"raw: not base64: {error}")
    return RawLine(topic, None if key is None else key.encode(), value)
