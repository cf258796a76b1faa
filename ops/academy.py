"""A made-up academy's life in time order: what happened, and what is corrected later.

Placements agree with rosters and corrections keep them so: places are swapped, never given twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from schemas.events import (
    AttendanceStatus,
    CreditTransfer,
    Event,
    LevelCommand,
    SessionAttendance,
    Skill,
    TournamentResult,
    TournamentRoster,
)

T = TypeVar("T")
Source = TypeVar("Source", TournamentResult, SessionAttendance)

SKILLS: Final = ("passing", "shooting", "dribbling", "defending", "heading", "stamina", "speed", "vision")
TOURNAMENT_SIZES: Final = (8, 16, 16, 32)
SESSION_SIZES: Final = range(8, 21)
SEASON_DAYS: Final = 300
STARTS_AT: Final = datetime(2024, 8, 1, tzinfo=UTC)
MOVES: Final = {"PLAYER": 8, "COACH": 8, "INTERNSHIP": 3}
"""The levels that made-up commands move users to; what the maximum is, only the database says."""


class Fact(NamedTuple):
    """Something that happened; `corrected` facts are published some time after what they correct."""

    event: Event
    corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Academy:
    """How large the academy is, and how much of what it publishes it has to correct. Ids count from `first_id`."""

    users: int
    tournaments: int
    sessions: int
    seed: int
    corrections: float
    first_id: int

    def facts(self) -> Iterator[Fact]:
        """Everything that happens in the season, in time order, the same for the same seed."""
        rng = Random(f"facts of {self.seed}")
        members = [_Member.made_up(self.first_id + index, rng) for index in range(self.users)]
        for seconds, happening, number in self._calendar(rng):
            at = STARTS_AT + timedelta(seconds=seconds)
            match happening:
                case "tournament":
                    yield from self._tournament(self.first_id + number, at, members, rng)
                case "session":
                    yield from self._session(self.first_id + number, at, members, rng)
                case "command":
                    yield Fact(_command(f"season-{self.seed}-{number}", at, _pick(members, rng), rng))
                case _:
                    yield Fact(_transfer(f"season-{self.seed}-{number}", at, members, rng))

    def _calendar(self, rng: Random) -> list[tuple[int, str, int]]:
        counts = {
            "tournament": self.tournaments,
            "session": self.sessions,
            "command": self.users // 20,
            "transfer": self.users // 5 if self.users > 1 else 0,
        }
        span = SEASON_DAYS * 86_400
        return sorted(
            (int(rng.random() * span), happening, number)
            for happening, times in counts.items()
            for number in range(times)
        )

    def _tournament(self, tournament: int, at: datetime, members: Sequence["_Member"], rng: Random) -> Iterator[Fact]:
        players = _some(members, _pick(TOURNAMENT_SIZES, rng), rng)
        players.sort(key=lambda player: player.talent + rng.random(), reverse=True)
        trained = _some(SKILLS, 2, rng)
        measured = rng.random() < 0.6
        results = [
            TournamentResult(
                event_id=f"result-{tournament}-{player.id}",
                user_id=player.id,
                tournament_id=tournament,
                status="final" if rng.random() < 0.99 else "withdrawn",
                placement=place,
                participants=len(players),
                specialization=player.specialization if player.coaches else "PLAYER",
                skills=tuple(Skill(name, _performance(player, rng) if measured else None) for name in trained),
                occurred_at=at + timedelta(minutes=place),
            )
            for place, player in enumerate(players, 1)
        ]
        roster = TournamentRoster(
            tournament_id=tournament,
            participants=len(players),
            user_ids=tuple(sorted(player.id for player in players)) if rng.random() < 0.8 else None,
            finalized_at=at + timedelta(hours=2),
        )
        early = rng.random() < 0.2
        if early:
            yield Fact(roster)
        yield from map(Fact, results)
        if not early:
            yield Fact(roster)
        yield from self._corrected_results(results, rng)

    def _corrected_results(self, results: list[TournamentResult], rng: Random) -> Iterator[Fact]:
        for place in range(len(results)):
            if rng.random() >= self.corrections:
                continue
            kind = rng.random()
            if kind < 0.5 and place > 0:
                # A swap corrects two results: made half as often, so that the fraction holds.
                if rng.random() < 0.5:
                    yield from _swapped(results, place)
                continue
            if kind < 0.6:
                results[place] = _next(results[place], status="withdrawn")
            elif kind < 0.7:
                results[place] = _next(results[place], status="final", specialization="COACH")
            else:
                skills = tuple(Skill(skill.name, _hundredth(rng.random())) for skill in results[place].skills)
                results[place] = _next(results[place], status="final", skills=skills)
            yield Fact(results[place], corrected=True)

    def _session(self, session: int, at: datetime, members: Sequence["_Member"], rng: Random) -> Iterator[Fact]:
        present = [_attendance(session, at, member, rng) for member in _some(members, _pick(SESSION_SIZES, rng), rng)]
        yield from map(Fact, present)
        for attendance in present:
            if rng.random() < self.corrections:
                yield Fact(_corrected_attendance(attendance, rng), corrected=True)


class _Member(NamedTuple):
    id: int
    specialization: str
    talent: float
    diligence: float

    @property
    def coaches(self) -> bool:
        return self.specialization == "COACH"

    @classmethod
    def made_up(cls, id_: int, rng: Random) -> "_Member":
        draw = rng.random()
        specialization = "PLAYER" if draw < 0.85 else "COACH" if draw < 0.95 else "INTERNSHIP"
        return cls(id_, specialization, rng.random(), 0.6 + 0.4 * rng.random())


def _attendance(session: int, at: datetime, member: _Member, rng: Random) -> SessionAttendance:
    status = _attendance_status(member, rng)
    here = status in ("present", "late")
    specialization = member.specialization
    return SessionAttendance(
        event_id=f"presence-{session}-{member.id}",
        user_id=member.id,
        session_id=session,
        status=status,
        specialization=specialization,
        minutes=(90 if status == "present" else 60) if here else 0,
        theory_hours=int(here and specialization != "PLAYER"),
        practice_hours=int(here and specialization != "INTERNSHIP"),
        skills=(Skill(_pick(SKILLS, rng)),) if here else (),
        occurred_at=at,
    )


def _attendance_status(member: _Member, rng: Random) -> AttendanceStatus:
    draw = rng.random()
    if draw < member.diligence:
        return "present" if draw > 0.08 else "late"
    return "absent" if rng.random() < 0.6 else "excused"


def _corrected_attendance(attendance: SessionAttendance, rng: Random) -> SessionAttendance:
    draw = rng.random()
    if draw < 0.15:
        return _next(attendance, status="withdrawn")
    if draw < 0.25:
        return _next(attendance, specialization="COACH", theory_hours=2)
    if attendance.status in ("present", "late"):
        return _next(attendance, status="absent", minutes=0, theory_hours=0, practice_hours=0)
    return _next(attendance, status="present", minutes=90, practice_hours=1)


def _swapped(results: list[TournamentResult], place: int) -> Iterator[Fact]:
    """The result at `place` changes its placement with the one before."""
    above, below = results[place - 1], results[place]
    results[place - 1] = _next(above, placement=below.placement)
    results[place] = _next(below, placement=above.placement)
    yield Fact(results[place - 1], corrected=True)
    yield Fact(results[place], corrected=True)


def _next(event: Source, **changes: object) -> Source:
    """The next revision of `event`."""
    revision = event.revision + 1
    return replace(event, event_id=f"{event.event_id.partition('#')[0]}#{revision}", revision=revision, **changes)


def _command(command: str, at: datetime, member: _Member, rng: Random) -> LevelCommand:
    hours = int(rng.random() * 4)
    return LevelCommand(
        command_id=command,
        user_id=member.id,
        specialization=member.specialization,
        new_level=1 + int(rng.random() * MOVES[member.specialization]) if rng.random() < 0.4 else None,
        xp_change=50 * (1 + int(rng.random() * 10)),
        sessions_change=int(rng.random() * 2),
        theory_hours_change=hours if member.coaches else 0,
        practice_hours_change=0 if member.coaches else hours,
        advanced_by=1 if rng.random() < 0.8 else None,
        reason=_pick(("season review", "exam passed", "trial week", ""), rng),
        occurred_at=at,
    )


def _transfer(key: str, at: datetime, members: Sequence[_Member], rng: Random) -> CreditTransfer:
    sender, receiver = _some(members, 2, rng)
    return CreditTransfer(
        idempotency_key=key,
        sender_id=sender.id,
        receiver_id=receiver.id,
        amount=1 + int(rng.random() * 60),
        memo=_pick(("", "thanks for the boots", "pitch fee", "köszönöm"), rng),
        occurred_at=at,
    )


def _performance(player: _Member, rng: Random) -> float:
    return _hundredth(0.7 * player.talent + 0.3 * rng.random())


def _hundredth(share: float) -> float:
    return round(share * 100, 1)


def _pick(choices: Sequence[T], rng: Random) -> T:
    return choices[int(rng.random() * len(choices))]


def _some(pool: Sequence[T], size: int, rng: Random) -> list[T]:
    return rng.sample(pool, min(size, len(pool)))
