"""The facts upstream services publish, as frozen, versioned structs.

A struct here is a fact that has already been checked: `schemas.parse` is the only way from bytes to one of them.
Limits are written once, as annotations, so that the decoder, the JSON Schemas and the AsyncAPI document agree.
Events are final, so that `type(event) is ...` tells them apart: where it says no, `isinstance` of a struct is slow.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, final

from msgspec import Meta, Struct

MAX_ID: Final = 2**63 - 1
MAX_EVENT_BYTES: Final = 65_536
MAX_DEPTH: Final = 32
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)

Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
Revision = Annotated[int, Meta(ge=1, le=32_767)]
Headcount = Annotated[int, Meta(ge=1, le=100_000)]
Hours = Annotated[int, Meta(ge=0, le=1_000)]
Change = Annotated[int, Meta(ge=-10_000, le=10_000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
SkillName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,39}\Z")]
Specialization = Annotated[
    str, Meta(description="One of the academy's.", examples=["PLAYER", "COACH", "INTERNSHIP"])
]  # fmt: skip
Instant = Annotated[
    datetime,
    Meta(
        tz=True,
        description=f"From {EARLIEST:%Y-%m-%d} on, truncated to microseconds.",
        extra_json_schema={
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:[0-5]\d)$",
            "examples": ["2024-05-01T10:00:00Z", "2024-05-01T12:00:00.250+02:00"],
        },
    ),
]
"""A moment, always in UTC once it is parsed; `EARLIEST` or later."""

TournamentStatus = Literal["final", "withdrawn"]
AttendanceStatus = Literal["present", "late", "absent", "excused", "withdrawn"]


class Skill(Struct, frozen=True, gc=False):
    """A skill that a result or a session exercised, and how well, where the publisher measured it."""

    name: SkillName
    performance: Annotated[float, Meta(ge=0, le=100)] | None = None


Skills = Annotated[tuple[Skill, ...], Meta(max_length=32)]


@final
class TournamentResult(Struct, frozen=True, kw_only=True, gc=False):
    """One user's result in one tournament, or its withdrawal."""

    event_id: Name
    user_id: Id
    tournament_id: Id
    revision: Revision = 1
    status: TournamentStatus
    placement: Headcount | None = None
    participants: Headcount | None = None
    specialization: Specialization = "PLAYER"
    skills: Skills = ()
    occurred_at: Instant


@final
class SessionAttendance(Struct, frozen=True, kw_only=True, gc=False):
    """One user's presence in one training session, or its withdrawal."""

    event_id: Name
    user_id: Id
    session_id: Id
    revision: Revision = 1
    status: AttendanceStatus
    specialization: Specialization = "PLAYER"
    minutes: Annotated[int, Meta(ge=0, le=1_440)] = 0
    theory_hours: Hours = 0
    practice_hours: Hours = 0
    skills: Skills = ()
    occurred_at: Instant


@final
class LevelCommand(Struct, frozen=True, kw_only=True, gc=False):
    """Somebody's order to move a user's level, XP, sessions or hours in one specialization."""

    command_id: Name
    user_id: Id
    specialization: Specialization = "PLAYER"
    new_level: Annotated[int, Meta(ge=-(2**63), le=MAX_ID)] | None = None
    xp_change: Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)] = 0
    sessions_change: Change = 0
    theory_hours_change: Change = 0
    practice_hours_change: Change = 0
    advanced_by: Id | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    occurred_at: Instant


@final
class CreditTransfer(Struct, frozen=True, kw_only=True, gc=False):
    """A user's order to give credits to another."""

    idempotency_key: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,128}\Z")]
    sender_id: Id
    receiver_id: Id
    amount: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    memo: Annotated[str, Meta(max_length=280)] = ""
    occurred_at: Instant


@final
class TournamentRoster(Struct, frozen=True, kw_only=True, gc=False):
    """Who took part in a finished tournament: what its results must add up to."""

    tournament_id: Id
    participants: Annotated[int, Meta(ge=0, le=100_000)]
    user_ids: Annotated[tuple[Id, ...], Meta(extra_json_schema={"uniqueItems": True})] | None = None
    finalized_at: Instant


Event = TournamentResult | SessionAttendance | LevelCommand | CreditTransfer | TournamentRoster

TOURNAMENT_RESULTS: Final = "tournament-results"
SESSION_ATTENDANCE: Final = "session-attendance"
LEVEL_COMMANDS: Final = "level-commands"
CREDIT_TRANSFERS: Final = "credit-transfers"
TOURNAMENT_ROSTERS: Final = "tournament-rosters"
REWARD_ENTRIES: Final = "reward-entries"
REWARD_ALERTS: Final = "reward-alerts"

EVENT_TOPICS: Final[dict[str, type[Event]]] = {
    TOURNAMENT_RESULTS: TournamentResult,
    SESSION_ATTENDANCE: SessionAttendance,
    LEVEL_COMMANDS: LevelCommand,
    CREDIT_TRANSFERS: CreditTransfer,
    TOURNAMENT_ROSTERS: TournamentRoster,
}


def dead_letter_topic(topic: str) -> str:
    """Where the dead letters of `topic` are published."""
    return f"{topic}.dlq"


def event_subject(event: Event) -> int:
    """The id that keys the event on its topic: the user, the sender, or for rosters the tournament."""
    if type(event) is CreditTransfer:
        return event.sender_id
    if type(event) is TournamentRoster:
        return event.tournament_id
    return event.user_id


def event_time(event: Event) -> datetime:
    """When the fact happened: `occurred_at`, for rosters `finalized_at`."""
    return event.finalized_at if type(event) is TournamentRoster else event.occurred_at
