"""Versioned reward rules as data: read from TOML, validated, identified by the hash of their content."""

import functools
import hashlib
import tomllib
from bisect import bisect_right
from importlib import resources
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, structs

from schemas.errors import LaurelsError
from schemas.events import AttendanceStatus

Amount = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Placement = Annotated[int, Meta(ge=1, le=100_000)]
Attended = Literal["present", "late", "absent", "excused"]

HASH_DIGITS: Final = 16


class Band(Struct, frozen=True, forbid_unknown_fields=True):
    """What a tournament result earns from placement `first` to `last`; the band without them takes all others."""

    xp: Amount
    credits: Amount
    skill_points: Amount
    first: Placement | None = None
    last: Placement | None = None
    badge: Annotated[str, Meta(pattern=r"\A[A-Z][A-Z0-9_]{0,49}\Z")] | None = None


class Attendance(Struct, frozen=True, forbid_unknown_fields=True):
    """What a session earns at one attendance status, and whether it counts as a session."""

    xp: Amount
    credits: Amount
    skill_points: Amount
    counts: bool


class Bonus(Struct, frozen=True, forbid_unknown_fields=True):
    """Credits for every milestone of so many sessions."""

    every_sessions: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    credits: Amount


class RatingRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The exponential moving average of skill ratings."""

    start: Annotated[float, Meta(ge=0, le=100)]
    weight: Annotated[float, Meta(gt=0, le=1)]
    digits: Annotated[int, Meta(ge=0, le=9)]


class RulesetContent(Struct, frozen=True, forbid_unknown_fields=True):
    """A ruleset as its TOML file has it."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
    tournament: tuple[Band, ...]
    attendance: dict[Attended, Attendance]
    bonus: Bonus
    rating: RatingRule


NO_BAND: Final = Band(xp=0, credits=0, skill_points=0)
"""What a withdrawn result earns."""

NO_ATTENDANCE: Final = Attendance(xp=0, credits=0, skill_points=0, counts=False)
"""What a withdrawn attendance earns."""


class Ruleset(Struct, frozen=True):
    """A ruleset ready to decide with. `hash` identifies it wherever one is named.

    `starts` are the placements at which another band begins; `bands` has one more: what stands before the first start.
    """

    hash: str
    content: RulesetContent
    attendance: dict[AttendanceStatus, Attendance]
    badges: frozenset[str]
    starts: tuple[int, ...]
    bands: tuple[Band, ...]

    def band(self, placement: int | None) -> Band:
        """What a final result at `placement` earns."""
        return self.bands[bisect_right(self.starts, placement or 0)]


class InvalidRuleset(LaurelsError):
    """A ruleset that cannot be used. `problems` are all that is wrong with it, each naming its field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_ruleset(toml: str) -> Ruleset:
    """The ruleset that a TOML text describes; raises `InvalidRuleset`."""
    if toml.startswith("\ufeff"):
        raise InvalidRuleset(["not TOML: it begins with a byte-order mark, which must go"])
    try:
        members = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRuleset([f"not TOML: {error}"]) from error
    except (RecursionError, ValueError) as error:
        raise InvalidRuleset(["not a ruleset: nested too deep, or a number of thousands of digits"]) from error
    return _make_ruleset(members)


@functools.cache
def load_default() -> Ruleset:
    """The academy's own ruleset, which comes with the code."""
    return parse_ruleset(resources.files("schemas").joinpath("rulesets", "academy.toml").read_text(encoding="utf-8"))


def to_canonical_json(content: RulesetContent) -> str:
    """`content` in the one form that is hashed and stored: members sorted, defaults written out, no spaces."""
    return msgspec.json.encode(content, order="sorted").decode()


@functools.lru_cache(maxsize=64)
def from_canonical_json(text: str) -> Ruleset:
    """The ruleset stored as `text`; raises `InvalidRuleset`. Who decides asks every second, and mostly for the same one."""
    try:
        members = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidRuleset([f"not a JSON object: {error}"]) from error
    return _make_ruleset(members)


def ruleset_hash(content: RulesetContent) -> str:
    """What identifies `content`: two files that say the same have the same."""
    return hashlib.sha256(to_canonical_json(content).encode()).hexdigest()[:HASH_DIGITS]


def _make_ruleset(members: dict[str, Any]) -> Ruleset:
    problems: list[str] = []
    content = _read(RulesetContent, members, "", problems)
    if not problems:
        problems = _breaches(content)
    if problems:
        raise InvalidRuleset(problems)
    starts, bands = _lay_out(content.tournament)
    return Ruleset(
        hash=ruleset_hash(content),
        content=content,
        attendance={**content.attendance, "withdrawn": NO_ATTENDANCE},
        badges=frozenset(_badges(content.tournament)),
        starts=starts,
        bands=bands,
    )


def _lay_out(bands: tuple[Band, ...]) -> tuple[tuple[int, ...], tuple[Band, ...]]:
    """Where each band starts, and the bands in that order, with the one for all others in every gap."""
    others = next(band for band in bands if band.first is None)
    starts: list[int] = []
    laid_out = [others]
    following = 1
    for first, last, band in _ranges(bands):
        if first > following:
            starts.append(following)
            laid_out.append(others)
        starts.append(first)
        laid_out.append(band)
        following = last + 1
    return (*starts, following), (*laid_out, others)


def _ranges(bands: tuple[Band, ...]) -> list[tuple[int, int, Band]]:
    """The bands that name both ends of a range, by where it starts."""
    ranges = [(band.first, band.last, band) for band in bands if band.first is not None and band.last is not None]
    return sorted(ranges, key=lambda range_: range_[:2])


def _badges(bands: tuple[Band, ...]) -> list[str]:
    return [band.badge for band in bands if band.badge is not None]


def _breaches(content: RulesetContent) -> list[str]:
    """What is wrong between fields that are each right by themselves."""
    problems = []
    for index, band in enumerate(content.tournament):
        if (band.first is None) != (band.last is None):
            problems.append(f"tournament[{index}]: first and last go together")
        elif band.first is not None and band.last is not None and band.first > band.last:
            problems.append(f"tournament[{index}]: first {band.first} is above last {band.last}")
    taken_to = 0
    for first, last, _ in _ranges(content.tournament):
        if first <= taken_to:
            problems.append(f"tournament: placement {first} is in two bands")
        taken_to = max(taken_to, last)
    catch_alls = sum(band.first is None and band.last is None for band in content.tournament)
    if catch_alls != 1:
        problems.append(f"tournament: one band must have neither first nor last, to take all others; {catch_alls} do")
    badges = _badges(content.tournament)
    problems += [
        f"tournament: badge {badge} is in two bands" for badge in sorted(set(badges)) if badges.count(badge) > 1
    ]
    return problems


def _read(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """`value` as a `kind`. What is wrong is added to `problems`, field by field; then the answer is worth nothing."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _read_struct(kind, value, path, problems)
    if get_origin(kind) is tuple and isinstance(value, list):
        of, _ = get_args(kind)
        return tuple(_read(of, item, f"{path}[{index}]", problems) for index, item in enumerate(value))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            problems.append(f"{path}: must be a table")
            return None
        of_key, of = get_args(kind)
        keys = get_args(of_key)
        problems += [f"{path}.{key}: unknown" for key in value if key not in keys]
        problems += [f"{path}.{key}: missing" for key in keys if key not in value]
        return {key: _read(of, item, f"{path}.{key}", problems) for key, item in value.items()}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{path}: {error}")


def _read_struct(kind: type[Struct], value: Any, path: str, problems: list[str]) -> Struct | None:
    if not isinstance(value, dict):
        problems.append(f"{path}: must be a table")
        return None
    problems_before = len(problems)
    prefix = f"{path}." if path else ""
    fields = {field.name: field for field in structs.fields(kind)}
    problems += [f"{prefix}{name}: unknown" for name in value if name not in fields]
    problems += [f"{prefix}{name}: missing" for name, field in fields.items() if field.required and name not in value]
    members = {
        name: _read(field.type, value[name], f"{prefix}{name}", problems)
        for name, field in fields.items()
        if name in value
    }
    return kind(**members) if len(problems) == problems_before else None
