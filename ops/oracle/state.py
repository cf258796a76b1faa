"""What the oracle remembers: each user's standings, and one small record per source."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ops.oracle.reading import Fact

SourceKey = tuple[str, int | str, int]
"""Kind, id and user. A roster is of no user, which is 0."""

Remembered = TypeVar("Remembered")


class Memory(Protocol[Remembered]):
    """Where what is known of sources is kept: a dict, or whatever else can be looked up and written to.

    What was got or set last may still be changed in place, and is then remembered as changed.
    """

    def get(self, key: SourceKey, /) -> Remembered | None:
        """What is remembered under the key."""

    def __setitem__(self, key: SourceKey, remembered: Remembered, /) -> None: ...


class Given(NamedTuple):
    """What a source has given so far, bonuses apart."""

    specialization: str
    xp: int
    credits: int
    skills: tuple[tuple[str, int], ...]
    badges: tuple[str, ...]
    counted: tuple[str, int, int, int] | None
    """Specialization, sessions, theory and practice hours."""


GAVE_NOTHING = Given("", 0, 0, (), (), None)
NO_BADGES: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType({})


class Source:
    """One tournament, session, command or transfer of one user, as of its recorded revision.

    `payload` is None while nothing says what the recorded revision's payload was (adopted, or in a log that is gone).
    `row` is what the participation or attendance holds (a payload; a withdrawal leaves it as it was); None where that
    is not known either, or where there is no such row. `adopted` is whether the source counts as given before us.
    `badges` are those it ever earned: when, and whether revoked.
    """

    __slots__ = (
        "adopted",
        "badges",
        "given",
        "occurred_us",
        "payload",
        "result",
        "revision",
        "row",
        "ruleset",
        "seq",
        "withdrawn",
    )

    def __init__(self, fact: Fact | None, seq: int | None, ruleset: str | None) -> None:
        self.revision = fact.revision if fact else 1
        self.payload: tuple[Any, ...] | None = fact.payload if fact else None
        self.row = self.payload
        self.given = GAVE_NOTHING
        self.ruleset = ruleset
        self.seq = seq
        self.occurred_us = fact.occurred_us if fact else 0
        self.adopted = False
        self.withdrawn = fact is not None and fact.payload[0] == "withdrawn"
        self.badges = NO_BADGES
        self.result: str | None = None
        """The outcome of a transfer."""


class Standing:
    """A user's progress (`level` and what follows) and license in one specialization; None where one is missing."""

    __slots__ = ("adjustment", "highest", "level", "license", "milestones", "practice", "sessions", "theory", "xp")

    def __init__(self) -> None:
        self.level: int | None = None
        self.xp = self.sessions = self.theory = self.practice = 0
        self.adjustment = self.milestones = 0
        self.license: int | None = None
        self.highest = 1


class User:
    """What the oracle remembers of one user, whatever happened to them: sources are remembered apart."""

    __slots__ = ("credits", "loose", "standings", "xp")

    def __init__(self) -> None:
        self.xp = self.credits = 0
        self.loose = False
        """Whether a receipt taken as given may have moved sessions or hours without saying so."""
        self.standings: dict[str, Standing] = {}


class Receipt(NamedTuple):
    """What a receipt must say. `ruleset` is None where none decided."""

    event_key: str
    user_id: int
    corrects: str | None
    revision: int
    ruleset: str | None
    occurred_us: int
    grant: dict[str, Any]
