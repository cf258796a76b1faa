"""Records that the pipeline must refuse, one kind for every reason there is, made out of an event that is fine."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from msgspec import json
from msgspec.structs import replace

from schemas.events import (
    LEVEL_COMMANDS,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    CreditTransfer,
    Event,
    LevelCommand,
    SessionAttendance,
    TournamentResult,
    TournamentRoster,
    event_subject,
    event_time,
)
from schemas.rewards import RefusalReason


class Poison(NamedTuple):
    """A record that must become a dead letter for `reason`."""

    topic: str
    key: bytes
    value: bytes | None
    reason: RefusalReason


def make_poison(topic: str, event: Event, number: int) -> Poison:
    """The `number`-th poison, made out of `event`: every kind has its turn. It costs the event itself nothing."""
    return _KINDS[number % len(_KINDS)](topic, event, number)


Kind = Callable[[str, Event, int], Poison]


def _tombstone(topic: str, event: Event, _number: int) -> Poison:
    return Poison(topic, _key(event), None, "undecodable")


def _cut_short(topic: str, event: Event, _number: int) -> Poison:
    return Poison(topic, _key(event), json.encode(event)[:-7], "undecodable")


def _byte_order_mark(topic: str, event: Event, _number: int) -> Poison:
    return Poison(topic, _key(event), b"\xef\xbb\xbf" + json.encode(event), "undecodable")


def _too_large(topic: str, event: Event, _number: int) -> Poison:
    return Poison(topic, _key(event), json.encode(event).ljust(MAX_EVENT_BYTES + 1), "undecodable")


def _with(member: bytes, reason: RefusalReason) -> Kind:
    """The event with one more member: of a repeated name the last counts."""

    def kind(topic: str, event: Event, _number: int) -> Poison:
        return Poison(topic, _key(event), json.encode(event)[:-1] + b"," + member + b"}", reason)

    return kind


def _wrong_key(topic: str, event: Event, _number: int) -> Poison:
    return Poison(topic, b"0%d" % event_subject(event), json.encode(event), "key_mismatch")


def _future(topic: str, event: Event, _number: int) -> Poison:
    field = "finalized_at" if isinstance(event, TournamentRoster) else "occurred_at"
    late = replace(event, **{field: event_time(event).replace(year=2199)})
    return Poison(topic, _key(event), json.encode(late), "future_event")


def _conflict(topic: str, event: Event, number: int) -> Poison:
    """The same source and revision, or the same command or transfer, saying something else."""
    match event:
        case TournamentResult() | SessionAttendance():
            other: Event = replace(event, occurred_at=event.occurred_at + timedelta(seconds=1))
        case LevelCommand():
            other = replace(event, reason=f"{event.reason} (again)")
        case CreditTransfer():
            other = replace(event, memo=f"{event.memo} (again)")
        case TournamentRoster():  # A later roster replaces the earlier: rosters never conflict.
            return _wrong_key(topic, event, number)
    return Poison(topic, _key(event), json.encode(other), "conflict")


def _command(reason: RefusalReason, *, new_level: int | None = None, xp_change: int = 0) -> Kind:
    """A level command that can never be applied."""

    def kind(_topic: str, event: Event, number: int) -> Poison:
        command = LevelCommand(
            command_id=f"poison-{event_time(event):%Y%m%d%H%M%S}-{number}",
            user_id=event_subject(event),
            new_level=new_level,
            xp_change=xp_change,
            reason=reason,
            occurred_at=event_time(event),
        )
        return Poison(LEVEL_COMMANDS, _key(command), json.encode(command), reason)

    return kind


def _key(event: Event) -> bytes:
    return b"%d" % event_subject(event)


_USUAL: Final[tuple[Kind, ...]] = (
    _tombstone,
    _cut_short,
    _byte_order_mark,
    _with(b'"note":NaN', "undecodable"),
    _with(b'"note":"\\ud800"', "undecodable"),
    _with(b'"note":"\xff"', "undecodable"),
    _with(b'"note":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "undecodable"),
    _with(b'"version":2', "unknown_version"),
    _with(b'"occurred_at":"2024-02-30T10:00:00Z","finalized_at":"yesterday"', "invalid_event"),
    _with(b'"user_id":"7","sender_id":0,"tournament_id":1.0', "invalid_event"),
    _wrong_key,
    _future,
    _conflict,
    _command("empty_command"),
    _command("invalid_level", new_level=999),
    _command("negative_total", xp_change=-1_000_000_000),
)
_KINDS: Final[tuple[Kind, ...]] = (*_USUAL * 8, _too_large)
"""Oversize values are rare, because they are most of the bytes."""
