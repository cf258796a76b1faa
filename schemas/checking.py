"""The thorough reading of an event: JSON by the letter, then every field against the limits its struct declares.

Slower than msgspec and stricter: `schemas.parse` asks here whenever the quick way does not accept, and for the words
in which a refusal names the field and the reason.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec.inspect import (
    DateTimeType,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from schemas.events import EARLIEST, EVENT_TOPICS, MAX_DEPTH, Event

Check = Callable[[object, str], object]
"""Turns a JSON value into the value of the field whose path it is given, or raises `Invalid` naming that field."""

_TOKENS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A string that never ends takes all that follows: tried anew from each of its quotes, 64 KiB would take seconds."""
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(\.\d+)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_LONGEST_SHOWN: Final = 80
_LONGEST_INTEGER: Final = 24
"""Digits. Python refuses to read integers of thousands of digits; every longer one is beyond all limits anyway."""


class Undecodable(ValueError):
    """The bytes are not a JSON object such as events are."""


class Invalid(ValueError):
    """A field is missing, of the wrong type or outside its limits; the message names it."""


def read_object(value: bytes) -> dict[str, Any]:
    """The members of the JSON object that `value` is; raises `Undecodable`."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"not UTF-8 at byte {error.start}") from error
    if _is_too_deep(text):
        raise Undecodable(f"nested deeper than {MAX_DEPTH}")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_int=_read_integer)
    except json.JSONDecodeError as error:
        raise Undecodable(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from error
    if any(escape["lone"] for escape in _ESCAPES.finditer(text)):
        raise Undecodable("not JSON: a lone surrogate")
    if not isinstance(document, dict):
        raise Undecodable("not a JSON object")
    return document


def check_event(kind: type[Event], members: dict[str, Any]) -> Event:
    """The event that `members` say; raises `Invalid`. Rules between fields are not looked at here."""
    return cast(Event, _EVENT_CHECKS[kind](members, ""))


def shown(value: object) -> str:
    """`value` for a person: short, and safe to store as text."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _is_too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
                if depth > MAX_DEPTH:
                    return True
            case "}" | "]":
                depth -= 1
    return False


def _refuse_constant(name: str) -> object:
    raise Undecodable(f"not JSON: {name}")


def _read_integer(digits: str) -> int:
    return int(digits if len(digits) <= _LONGEST_INTEGER else digits[:_LONGEST_INTEGER])


def _check_for(type_: Type) -> Check:
    """The check of one type, built once from what the struct declares."""
    match type_:
        case Metadata(type=described):
            return _check_for(described)
        case IntType():
            return _integer_check(type_)
        case FloatType():
            return _number_check(type_)
        case StrType():
            return _text_check(type_)
        case LiteralType():
            return _choice_check(type_)
        case DateTimeType():
            return _check_time
        case VarTupleType():
            return _list_check(type_)
        case StructType():
            return _struct_check(type_)
        case UnionType(types=[inner, NoneType()]):
            check = _check_for(inner)
            return lambda value, field: None if value is None else check(value, field)
    raise TypeError(f"events have no fields of {type_}")


def _integer_check(type_: IntType) -> Check:
    low, high = type_.ge, type_.le

    def check(value: object, field: str) -> int:
        if type(value) is not int:
            raise Invalid(f"{field}: must be an integer, not {shown(value)}")
        _check_bounds(value, low, high, field)
        return value

    return check


def _number_check(type_: FloatType) -> Check:
    low, high = type_.ge, type_.le

    def check(value: object, field: str) -> float:
        if type(value) is not int and type(value) is not float:
            raise Invalid(f"{field}: must be a number, not {shown(value)}")
        _check_bounds(value, low, high, field)
        return float(value)

    return check


def _check_bounds(value: float, low: float | None, high: float | None, field: str) -> None:
    if low is not None and value < low:
        raise Invalid(f"{field}: must be at least {low}, not {shown(value)}")
    if high is not None and value > high:
        raise Invalid(f"{field}: must be at most {high}, not {shown(value)}")


def _text_check(type_: StrType) -> Check:
    shortest, longest = type_.min_length or 0, type_.max_length
    pattern = None if type_.pattern is None else re.compile(type_.pattern)

    def check(value: object, field: str) -> str:
        if type(value) is not str:
            raise Invalid(f"{field}: must be a string, not {shown(value)}")
        if "\x00" in value:
            raise Invalid(f"{field}: holds a NUL character")
        if len(value) < shortest:
            raise Invalid(f"{field}: must have at least {shortest} characters")
        if longest is not None and len(value) > longest:
            raise Invalid(f"{field}: must have at most {longest} characters, not {len(value)}")
        if pattern is not None and pattern.search(value) is None:
            raise Invalid(f"{field}: must match {pattern.pattern}, unlike {shown(value)}")
        return value

    return check


def _choice_check(type_: LiteralType) -> Check:
    choices = type_.values

    def check(value: object, field: str) -> object:
        if type(value) is not str or value not in choices:
            raise Invalid(f"{field}: must be one of {', '.join(map(str, choices))}, not {shown(value)}")
        return value

    return check


def _check_time(value: object, field: str) -> datetime:
    if type(value) is not str:
        raise Invalid(f"{field}: must be a time as a string, not {shown(value)}")
    form = _TIME.fullmatch(value)
    if form is None:
        raise Invalid(f"{field}: must be YYYY-MM-DDTHH:MM:SS[.fraction] with Z or +-HH:MM, unlike {shown(value)}")
    seconds, fraction, offset = form.groups()
    microseconds = (fraction or ".")[:7].ljust(7, "0")
    try:
        moment = datetime.fromisoformat(f"{seconds}{microseconds}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{field}: no such time: {shown(value)}") from error
    if moment < EARLIEST:
        raise Invalid(f"{field}: must be {EARLIEST:%Y-%m-%d} or later, not {shown(value)}")
    return moment


def _list_check(type_: VarTupleType) -> Check:
    longest = type_.max_length
    check_item = _check_for(type_.item_type)

    def check(value: object, field: str) -> tuple[object, ...]:
        if type(value) is not list:
            raise Invalid(f"{field}: must be a list, not {shown(value)}")
        if longest is not None and len(value) > longest:
            raise Invalid(f"{field}: must have at most {longest} elements, not {len(value)}")
        return tuple(check_item(item, f"{field}[{index}]") for index, item in enumerate(value))

    return check


def _struct_check(type_: StructType) -> Check:
    fields = [(field.name, field.required, _check_for(field.type)) for field in type_.fields]

    def check(value: object, path: str) -> object:
        if type(value) is not dict:
            raise Invalid(f"{path}: must be an object, not {shown(value)}")
        prefix = f"{path}." if path else ""
        known = {}
        for name, required, check_field in fields:
            if name in value:
                known[name] = check_field(value[name], f"{prefix}{name}")
            elif required:
                raise Invalid(f"{prefix}{name}: missing")
        return type_.cls(**known)

    return check


_EVENT_CHECKS: Final = {kind: _check_for(type_info(kind)) for kind in EVENT_TOPICS.values()}
