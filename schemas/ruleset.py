"""Versioned reward rules as data: read from TOML, validated, identified by the hash of their content."""

import hashlib
import tomllib
from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.events import AttendanceStatus

Amount = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Band(Struct, frozen=True, forbid_unknown_fields=True):
    """What a tournament result earns from placement `first` to `last`; the band without them takes all others."""

    xp: Amount
    credits: Amount
    skill_points: Amount
    first: Annotated[int, Meta(ge=1)] | None = None
    last: Annotated[int, Meta(ge=1)] | None = None
    badge: Annotated[str, Meta(pattern=r"\A[A-Z][A-Z0-9_]{0,49}\Z")] | None = None


class Attendance(Struct, frozen=True, forbid_unknown_fields=True):
    """What a session earns at one attendance status, and whether it counts as a session."""

    xp: Amount
    credits: Amount
    skill_points: Amount
    counts: bool


class Bonus(Struct, frozen=True, forbid_unknown_fields=True):
    """Credits for every milestone of so many sessions."""

    every_sessions: Annotated[int, Meta(ge=1)]
    credits: Amount


class RatingRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The exponential moving average of skill ratings."""

    start: Annotated[float, Meta(ge=0, le=100)]
    weight: Annotated[float, Meta(gt=0, le=1)]
    digits: Annotated[int, Meta(ge=0, le=9)]


class RulesetContent(Struct, frozen=True, forbid_unknown_fields=True):
    """A ruleset as its TOML file has it."""

    name: str
    tournament: tuple[Band, ...]
    attendance: dict[AttendanceStatus, Attendance]
    bonus: Bonus
    rating: RatingRule


class Ruleset(Struct, frozen=True):
    """A ruleset ready to decide with. `hash` identifies it wherever one is named."""

    hash: str
    content: RulesetContent
