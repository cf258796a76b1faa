"""Bytes to facts, read for the oracle alone: every check of an event, in the order that decides a dead letter's reason."""

import json
import re
from collections.abc import Callable, Collection
from datetime import datetime
from functools import lru_cache
from json.scanner import make_scanner
from sys import intern
from typing import Any, Final, Literal, NamedTuple, NoReturn

Kind = Literal["tournament", "session", "command", "transfer", "roster"]
Skills = tuple[tuple[str, float | None], ...]

LARGEST_VALUE = 65_536
DEEPEST = 32
LARGEST_ID = 2**63 - 1
DAY_US = 86_400_000_000
EARLIEST_US = 946_684_800_000_000
LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999 in UTC: nothing later has a date."""
INT_DIGITS = 4_000
"""Longer integers are beyond every limit, and Python refuses to convert much longer ones."""

SKILL_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
PRINTABLE = re.compile(r"[!-~]{1,128}")
INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


class Unreadable(Exception):
    """The record can never be applied: `reason` and `detail` of its dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Fact(NamedTuple):
    """What a record says. `payload` is all that makes two deliveries of one source the same or not.

    tournament: status, placement, participants, specialization, skills, occurred
    session: status, specialization, minutes, theory hours, practice hours, skills, occurred
    command: specialization, new level, changes of XP, sessions, theory and practice hours, advanced by, reason
    transfer: receiver, amount, memo
    roster: participants, user ids
    """

    kind: Kind
    user_id: int
    source: int | str
    revision: int
    payload: tuple[Any, ...]
    occurred_us: int


def _not_a_number(_: str) -> NoReturn:
    raise ValueError


PATIENT_DECODER = json.JSONDecoder(
    parse_constant=_not_a_number, parse_int=lambda digits: int(digits) if len(digits) < INT_DIGITS else float("inf")
)
SCAN = make_scanner(json.JSONDecoder(parse_constant=_not_a_number))  # type: ignore[arg-type]  # any context will do
SCAN_PATIENTLY = make_scanner(PATIENT_DECODER)  # type: ignore[arg-type]


def read(
    topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int | None, specializations: Collection[str]
) -> Fact:
    """The fact in a record, or `Unreadable`."""
    document = decode(value)
    if "version" in document and (type(document["version"]) is not int or document["version"] != 1):
        raise Unreadable("unknown_version", "version")
    fact = READERS[topic](document, specializations)
    if key != str(fact.source if fact.kind == "roster" else fact.user_id).encode():
        raise Unreadable("key_mismatch", "key")
    if timestamp_ms is not None and timestamp_ms >= 0 and fact.occurred_us > timestamp_ms * 1_000 + DAY_US:
        raise Unreadable("future_event", "occurred_at")
    return fact


def decode(value: bytes | None) -> dict[str, Any]:
    """The JSON object in a record's value, or `Unreadable` as undecodable."""
    if value is None or len(value) > LARGEST_VALUE:
        raise Unreadable("undecodable", "no value" if value is None else "too large")
    if value[:1] == b"\0":
        value = value[5:]
    try:
        text = value.decode().strip(" \t\n\r")
        try:
            document, end = SCAN(text, 0)
        except (ValueError, StopIteration):
            document, end = SCAN_PATIENTLY(text, 0)
        if end != len(text):
            raise Unreadable("undecodable", "more than one value")
        if b"\\u" in value and (b"\\ud" in value or b"\\uD" in value):
            json.dumps(json.loads(text, object_pairs_hook=list, parse_int=str), ensure_ascii=False).encode()
    except (ValueError, StopIteration, RecursionError) as error:
        raise Unreadable("undecodable", "not JSON") from error
    if type(document) is not dict:
        raise Unreadable("undecodable", "not an object")
    if value.count(b"{") + value.count(b"[") > DEEPEST and _depth(text) > DEEPEST:
        raise Unreadable("undecodable", "nested too deep")
    return document


def _depth(text: str) -> int:
    """How deep JSON nests; a member that a later one of its name replaced counts too."""
    deepest = depth = 0
    for character in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _integer(document: dict[str, Any], name: str, low: int, high: int, default: Any = ...) -> Any:
    """An integer member. Without a default it is required; with None as default it may be null."""
    value = document.get(name, default)
    if type(value) is not int:
        if value is None and default is None:
            return None
        raise Unreadable("invalid_event", name)
    if not low <= value <= high:
        raise Unreadable("invalid_event", name)
    return value


def _text(document: dict[str, Any], name: str, shortest: int, longest: int, default: Any = ...) -> str:
    value = document.get(name, default)
    if type(value) is not str or not shortest <= len(value) <= longest or "\0" in value:
        raise Unreadable("invalid_event", name)
    return value


def _specialization(document: dict[str, Any], specializations: Collection[str]) -> str:
    value = document.get("specialization", "PLAYER")
    if type(value) is not str or value not in specializations:
        raise Unreadable("invalid_event", "specialization")
    return intern(value)


def _skills(document: dict[str, Any]) -> Skills:
    listed = document.get("skills", ())
    if listed in ((), []):
        return ()
    if type(listed) is not list or len(listed) > 32:
        raise Unreadable("invalid_event", "skills")
    skills = []
    for skill in listed:
        if type(skill) is not dict:
            raise Unreadable("invalid_event", "skills")
        name = skill.get("name")
        if type(name) is not str or not SKILL_NAME.fullmatch(name):
            raise Unreadable("invalid_event", "name")
        performance = skill.get("performance")
        if performance is not None:
            if type(performance) not in (int, float) or not 0 <= performance <= 100:
                raise Unreadable("invalid_event", "performance")
            performance = float(performance)
        skills.append(_unmeasured(name) if performance is None else (intern(name), performance))
    return tuple(skills)


@lru_cache(maxsize=10_000)
def _unmeasured(name: str) -> tuple[str, None]:
    """A skill without a performance: the same few stand in most events, and are kept once."""
    return intern(name), None


def _instant(document: dict[str, Any], name: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time; digits beyond the sixth of a fraction are cut off."""
    value = document.get(name)
    moment = _moment(value) if type(value) is str else None
    if moment is None or not EARLIEST_US <= moment <= LATEST_US:
        raise Unreadable("invalid_event", name)
    return moment


@lru_cache(maxsize=10_000)
def _moment(text: str) -> int | None:
    """The same of a text, None where it is no time. Those who were at one session or tournament tell the same one."""
    match = INSTANT.fullmatch(text)
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    try:
        moment = int(datetime.fromisoformat(seconds + zone).timestamp()) * 1_000_000
    except (ValueError, OverflowError):
        return None
    return moment + int(fraction[:6].ljust(6, "0")) if fraction else moment


def _status(document: dict[str, Any], allowed: Collection[str]) -> str:
    value = document.get("status")
    if type(value) is not str or value not in allowed:
        raise Unreadable("invalid_event", "status")
    return intern(value)


RESULT_STATUSES = frozenset({"final", "withdrawn"})
PRESENCE_STATUSES = frozenset({"present", "late", "absent", "excused", "withdrawn"})


def _tournament(document: dict[str, Any], specializations: Collection[str]) -> Fact:
    _text(document, "event_id", 1, 128)
    placement = _integer(document, "placement", 1, 100_000, None)
    participants = _integer(document, "participants", 1, 100_000, None)
    if placement is not None and participants is not None and placement > participants:
        raise Unreadable("invalid_event", "placement")
    occurred = _instant(document, "occurred_at")
    return Fact(
        "tournament",
        _integer(document, "user_id", 1, LARGEST_ID),
        _integer(document, "tournament_id", 1, LARGEST_ID),
        _integer(document, "revision", 1, 32_767, 1),
        (
            _status(document, RESULT_STATUSES),
            placement,
            participants,
            _specialization(document, specializations),
            _skills(document),
            occurred,
        ),
        occurred,
    )


def _session(document: dict[str, Any], specializations: Collection[str]) -> Fact:
    _text(document, "event_id", 1, 128)
    occurred = _instant(document, "occurred_at")
    return Fact(
        "session",
        _integer(document, "user_id", 1, LARGEST_ID),
        _integer(document, "session_id", 1, LARGEST_ID),
        _integer(document, "revision", 1, 32_767, 1),
        (
            _status(document, PRESENCE_STATUSES),
            _specialization(document, specializations),
            _integer(document, "minutes", 0, 1_440, 0),
            _integer(document, "theory_hours", 0, 1_000, 0),
            _integer(document, "practice_hours", 0, 1_000, 0),
            _skills(document),
            occurred,
        ),
        occurred,
    )


def _command(document: dict[str, Any], specializations: Collection[str]) -> Fact:
    return Fact(
        "command",
        _integer(document, "user_id", 1, LARGEST_ID),
        _text(document, "command_id", 1, 128),
        1,
        (
            _specialization(document, specializations),
            _integer(document, "new_level", -LARGEST_ID - 1, LARGEST_ID, None),
            _integer(document, "xp_change", -1_000_000_000, 1_000_000_000, 0),
            _integer(document, "sessions_change", -10_000, 10_000, 0),
            _integer(document, "theory_hours_change", -10_000, 10_000, 0),
            _integer(document, "practice_hours_change", -10_000, 10_000, 0),
            _integer(document, "advanced_by", 1, LARGEST_ID, None),
            _text(document, "reason", 0, 500, ""),
        ),
        _instant(document, "occurred_at"),
    )


def _transfer(document: dict[str, Any], _: Collection[str]) -> Fact:
    sender = _integer(document, "sender_id", 1, LARGEST_ID)
    receiver = _integer(document, "receiver_id", 1, LARGEST_ID)
    key = document.get("idempotency_key")
    if type(key) is not str or not PRINTABLE.fullmatch(key):
        raise Unreadable("invalid_event", "idempotency_key")
    if sender == receiver:
        raise Unreadable("invalid_event", "receiver_id")
    amount = _integer(document, "amount", 1, 1_000_000_000)
    return Fact(
        "transfer",
        sender,
        key,
        1,
        (receiver, amount, _text(document, "memo", 0, 280, "")),
        _instant(document, "occurred_at"),
    )


def _roster(document: dict[str, Any], _: Collection[str]) -> Fact:
    tournament = _integer(document, "tournament_id", 1, LARGEST_ID)
    users = document.get("user_ids")
    if users is not None:
        if type(users) is not list or any(type(user) is not int or not 1 <= user <= LARGEST_ID for user in users):
            raise Unreadable("invalid_event", "user_ids")
        if len(set(users)) != len(users):
            raise Unreadable("invalid_event", "user_ids")
        users = tuple(users)
    participants = _integer(document, "participants", 0, 100_000)
    return Fact("roster", 0, tournament, 1, (participants, users), _instant(document, "finalized_at"))


READERS: Final[dict[str, Callable[[dict[str, Any], Collection[str]], Fact]]] = {
    "tournament-results": _tournament,
    "session-attendance": _session,
    "level-commands": _command,
    "credit-transfers": _transfer,
    "tournament-rosters": _roster,
}
