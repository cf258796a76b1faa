"""Levels: totals move, the level follows from them, and progress and license end at the same one."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct, structs

from schemas.rewards import LevelChange, License, Progress, Rating, RatingPoint, UserState, XpEntry

NEW_PROGRESS: Final = Progress()
NEW_LICENSE: Final = License()


class Change(Struct, gc=False):
    """How far one event moves a user's totals in one specialization."""

    xp: int = 0
    sessions: int = 0
    theory_hours: int = 0
    practice_hours: int = 0


class Rated(Struct, frozen=True, gc=False):
    """A license's ratings after an event."""

    skills: dict[str, Rating]
    rated_to: RatingPoint | None


class Settled(Struct, frozen=True, gc=False):
    """What of progress and licenses an event leaves different from what it found."""

    progress: dict[str, Progress]
    licenses: dict[str, License]
    level_changes: tuple[LevelChange, ...]


def xp_level(needs: tuple[int, ...], total_xp: int) -> int:
    """The highest level whose need is at most `total_xp`; level 1 below zero too."""
    return bisect_right(needs, total_xp) or 1


def changes_by(specialization: str, xp: Iterable[XpEntry], also: Iterable[str] = ()) -> dict[str, Change]:
    """What `xp` changes in each specialization; `specialization` and those in `also` are there in any case."""
    changes = {specialization: Change()}
    for other in also:
        if other not in changes:
            changes[other] = Change()
    for entry in xp:
        change = changes.get(entry.specialization)
        if change is None:
            change = changes[entry.specialization] = Change()
        change.xp += entry.amount
    return changes


def move_all(state: UserState, changes: Mapping[str, Change]) -> dict[str, Progress]:
    """The progress in each specialization of `changes`, after them."""
    return {specialization: move(state, specialization, change) for specialization, change in changes.items()}


def move(state: UserState, specialization: str, change: Change, new_level: int | None = None) -> Progress:
    """The progress in `specialization` after `change`, its level where the new totals, or `new_level`, put it."""
    found = find_progress(state, specialization)
    needs = state.levels[specialization]
    total_xp = found.total_xp + change.xp
    earned = xp_level(needs, total_xp)
    adjustment = found.level_adjustment if new_level is None else new_level - earned
    return Progress(
        _clamp(earned + adjustment, needs) if adjustment else earned,
        total_xp,
        found.sessions + change.sessions,
        found.theory_hours + change.theory_hours,
        found.practice_hours + change.practice_hours,
        adjustment,
        found.milestones_paid,
    )


def find_progress(state: UserState, specialization: str) -> Progress:
    """The progress an event starts from: the recorded one; where there is none, one at the license's level, or a new one.

    Where only one of progress and license exists, its level stands.
    """
    progress = state.progress.get(specialization)
    license_ = state.licenses.get(specialization)
    if progress is None:
        if license_ is None:
            return NEW_PROGRESS
        return _standing_at(license_.level, NEW_PROGRESS, state.levels[specialization])
    if license_ is None:
        return _standing_at(progress.level, progress, state.levels[specialization])
    return progress


def _standing_at(level: int, progress: Progress, needs: tuple[int, ...]) -> Progress:
    """`progress` at `level`, with the adjustment that makes it stand unless its own does."""
    earned = xp_level(needs, progress.total_xp)
    if _clamp(earned + progress.level_adjustment, needs) == level == progress.level:
        return progress
    level = _clamp(level, needs)
    return structs.replace(progress, level=level, level_adjustment=level - earned)


def _clamp(level: int, needs: tuple[int, ...]) -> int:
    return max(1, min(level, len(needs)))


def settle(
    state: UserState, moved: Mapping[str, Progress], rated: Mapping[str, Rated] = MappingProxyType({})
) -> Settled:
    """Bring the licenses to the levels of `moved` (which names every specialization in `rated`), creating missing ones."""
    progress_after: dict[str, Progress] = {}
    licenses_after: dict[str, License] = {}
    level_changes: tuple[LevelChange, ...] = ()
    for specialization, progress in moved.items():
        if progress != state.progress.get(specialization):
            progress_after[specialization] = progress
        recorded = state.licenses.get(specialization)
        level = progress.level
        if recorded is not None and level == recorded.level <= recorded.highest_level and specialization not in rated:
            continue
        license_ = recorded or NEW_LICENSE
        ratings = rated.get(specialization) or license_
        after = License(
            level, max(level, license_.highest_level), ratings.skills, license_.adopted_skills, ratings.rated_to
        )
        if after != recorded:
            licenses_after[specialization] = after
        if level != license_.level:
            level_changes += (LevelChange(specialization, license_.level, level),)
    return Settled(progress_after, licenses_after, level_changes)
