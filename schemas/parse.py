"""From bytes to an event or a refusal. Pure and total: whatever the input, it answers and never raises.

Two ways lead to the same answer. The quick one hands the bytes to msgspec, after cheap looks that turn away everything
in which msgspec is more lenient than the rules are. Whatever it does not accept takes the thorough one
(`schemas.checking`), which is plain Python, knows every rule and has the last word.
"""

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from schemas.checking import Invalid, Undecodable, check_event, read_object, shown
from schemas.events import (
    EARLIEST,
    EVENT_TOPICS,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    CreditTransfer,
    Event,
    TournamentResult,
    TournamentRoster,
    event_subject,
    event_time,
)
from schemas.rewards import Refused

FRAME_BYTES: Final = 5
"""Confluent's frame: a zero byte and a schema id of four."""

MAX_AHEAD: Final = timedelta(hours=24)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLEARLY_WITHIN_MS: Final = 23 * 3_600_000
"""So far ahead, floats need not be trusted to the microsecond."""


class _Reader(NamedTuple):
    """How one topic's events are read quickly."""

    decode: Callable[[bytes], Event]
    time_field: str
    time_member: bytes
    plain_time: re.Pattern[bytes]


def _reader_for(kind: type[Event]) -> _Reader:
    time_field = "finalized_at" if kind is TournamentRoster else "occurred_at"
    member = f'"{time_field}"'.encode()
    usual = rb' ?: ?"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)"'
    return _Reader(msgspec.json.Decoder(kind).decode, time_field, member, re.compile(member + usual))


_READERS: Final = {topic: _reader_for(kind) for topic, kind in EVENT_TOPICS.items()}
_VERSION_ONE: Final = re.compile(rb'"version" ?: ?1 ?[,}]')


def parse(
    topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int | None, specializations: Collection[str]
) -> Event | Refused:
    """Read one record of an event topic, checking in the order that the rules name."""
    event = read_event(topic, value, specializations)
    if type(event) is Refused:
        return event
    return check_delivery(event, key, timestamp_ms) or event


def read_event(topic: str, value: bytes | None, specializations: Collection[str]) -> Event | Refused:
    """What a record's value says by itself, whatever its key and time."""
    if value is None:
        return Refused("undecodable", "no value: a tombstone")
    if len(value) > MAX_EVENT_BYTES:
        return Refused("undecodable", f"{len(value)} bytes: more than {MAX_EVENT_BYTES}")
    value = without_frame(value)
    return _read_quickly(topic, value, specializations) or _read_thoroughly(topic, value, specializations)


def without_frame(value: bytes) -> bytes:
    """The JSON of a value in Confluent's wire format; any other value as it is."""
    return value[FRAME_BYTES:] if value[:1] == b"\x00" else value


def _read_quickly(topic: str, value: bytes, specializations: Collection[str]) -> Event | None:
    """The event, or None where this way cannot tell."""
    reader = _READERS.get(topic)
    if reader is None or not _is_plain(value, reader):
        return None
    try:
        event = reader.decode(value)
    except msgspec.DecodeError:
        return None
    happened_at: datetime = getattr(event, reader.time_field)
    if happened_at.tzinfo is not UTC:
        try:
            happened_at = happened_at.astimezone(UTC)
        except OverflowError:
            return None
        force_setattr(event, reader.time_field, happened_at)
    if happened_at < EARLIEST or breach_between_fields(event, specializations) is not None:
        return None
    return event


def _is_plain(value: bytes, reader: _Reader) -> bool:
    """Whether msgspec and the rules read `value` alike: no escapes, real UTF-8, shallow, its time in the usual form.

    Counting brackets bounds the depth from above. A time or a version that is named twice (again in an unknown field,
    or as the text of a string) leaves open which one counts, so such a value is not plain.
    """
    if b"\\" in value or value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return False
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
    if b'"version"' in value and (value.count(b'"version"') > 1 or _VERSION_ONE.search(value) is None):
        return False
    at = value.find(reader.time_member)
    once = at >= 0 and value.find(reader.time_member, at + 1) < 0
    return once and reader.plain_time.match(value, at) is not None


def _read_thoroughly(topic: str, value: bytes, specializations: Collection[str]) -> Event | Refused:
    kind = EVENT_TOPICS.get(topic)
    if kind is None:
        return Refused("invalid_event", f"topic: {topic} is not one that events come on")
    try:
        members = read_object(value)
    except Undecodable as reason:
        return Refused("undecodable", str(reason))
    version = members.get("version", 1)
    if type(version) is not int or version != 1:
        return Refused("unknown_version", f"version: {shown(version)} is not 1")
    try:
        event = check_event(kind, members)
    except Invalid as reason:
        return Refused("invalid_event", str(reason))
    breach = breach_between_fields(event, specializations)
    return event if breach is None else Refused("invalid_event", breach)


def breach_between_fields(event: Event, specializations: Collection[str]) -> str | None:
    """What is wrong with fields that are each within their own limits; None for nothing."""
    if type(event) is TournamentRoster:
        repeats = event.user_ids is not None and len(set(event.user_ids)) != len(event.user_ids)
        return "user_ids: an id occurs twice" if repeats else None
    if type(event) is CreditTransfer:
        return "receiver_id: must not be the sender" if event.receiver_id == event.sender_id else None
    if type(event) is TournamentResult and _is_beyond(event.placement, event.participants):
        return f"placement: {event.placement} of {event.participants} participants"
    if event.specialization not in specializations:
        return f"specialization: {shown(event.specialization)} is not one of {', '.join(sorted(specializations))}"
    return None


def _is_beyond(placement: int | None, participants: int | None) -> bool:
    return placement is not None and participants is not None and placement > participants


def check_delivery(event: Event, key: bytes | None, timestamp_ms: int | None) -> Refused | None:
    """Whether the record that brought `event` fits it: the key its subject, the record's time the event's."""
    subject = event_subject(event)
    if key != b"%d" % subject:
        return Refused("key_mismatch", f"the key is {shown(key)}, not {subject}")
    if timestamp_ms is None or timestamp_ms < 0:  # Kafka's own word for no timestamp is -1.
        return None
    happened_at = event_time(event)
    if happened_at.timestamp() * 1000 < timestamp_ms + _CLEARLY_WITHIN_MS:
        return None
    if (happened_at - EPOCH - MAX_AHEAD) // timedelta(microseconds=1) <= timestamp_ms * 1000:
        return None
    field = "finalized_at" if type(event) is TournamentRoster else "occurred_at"
    late = f"{field}: {happened_at.isoformat()} is more than 24 hours after the record's own time"
    return Refused("future_event", late)
