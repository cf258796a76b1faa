"""What the oracle remembers of each user: standings, and one small record per source."""

from typing import Any, NamedTuple

from ops.oracle.reading import Fact


class Given(NamedTuple):
    """What a source has given so far, bonuses apart. Sources that gave the same share one of these."""

    specialization: str
    xp: int
    credits: int
    skills: tuple[tuple[str, int], ...]
    badges: tuple[str, ...]
    counted: tuple[str, int, int, int] | None
    """Specialization, sessions, theory and practice hours."""


GAVE_NOTHING = Given("", 0, 0, (), (), None)


class Source:
    """One tournament, session, command or transfer of one user, as of its recorded revision.

    `payload` is None while nothing says what the recorded revision's payload was (adopted, or in a log that is gone).
    `row` is what the participation or attendance holds (a payload; a withdrawal leaves it as it was); None where that
    is not known either, or where there is no such row. `adopted` is whether the source counts as given before us.
    """

    __slots__ = (
        "adopted",
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
    """Everything the oracle remembers of one user."""

    __slots__ = ("badges", "credits", "loose", "sessions", "standings", "tournaments", "xp")

    def __init__(self) -> None:
        self.xp = self.credits = 0
        self.loose = False
        """Whether a receipt taken as given may have moved sessions or hours without saying so."""
        self.standings: dict[str, Standing] = {}
        self.tournaments: dict[int, Source] = {}
        self.sessions: dict[int, Source] = {}
        self.badges: dict[tuple[int, str], tuple[int, bool]] = {}
        """(tournament, type) -> when earned, whether revoked."""


class Receipt(NamedTuple):
    """What a receipt must say. `ruleset` is None where none decided."""

    event_key: str
    user_id: int
    corrects: str | None
    revision: int
    ruleset: str | None
    occurred_us: int
    grant: dict[str, Any]
