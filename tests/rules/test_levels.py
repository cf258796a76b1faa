from dataclasses import dataclass

import pytest

from schemas.rewards import License, Progress, UserState
from tests.rules.academy import LEVELS, USER, Student, attendance, command, moves, result

THRESHOLDS = [
    (specialization, level, need)
    for specialization, needs in LEVELS.items()
    for level, need in enumerate(needs, start=1)
    if need
]


@pytest.mark.parametrize(("specialization", "level", "need"), THRESHOLDS)
def test_a_level_is_reached_at_its_need_and_not_one_xp_before(specialization: str, level: int, need: int) -> None:
    student = Student()
    student.grant(command(command_id="a", specialization=specialization, xp_change=need - 1))
    assert student.state.progress[specialization].level == level - 1
    student.grant(command(command_id="b", specialization=specialization, xp_change=1))
    assert student.state.progress[specialization].level == level
    assert student.state.licenses[specialization].level == level


@pytest.mark.parametrize("specialization", LEVELS)
def test_no_xp_goes_beyond_the_last_level(specialization: str) -> None:
    student = Student()
    student.grant(command(specialization=specialization, xp_change=1_000_000_000))
    assert student.state.progress[specialization].level == len(LEVELS[specialization])


@pytest.mark.parametrize("total_xp", [-1, -500, -1_000_000])
def test_below_zero_xp_the_level_is_one(total_xp: int) -> None:
    student = Student(UserState(USER, LEVELS, progress={"PLAYER": Progress(total_xp=total_xp - 20)}))
    student.grant(attendance("present"))
    assert student.state.progress["PLAYER"].total_xp == total_xp
    assert student.state.progress["PLAYER"].level == 1


@dataclass(frozen=True)
class Found:
    """What an event finds, and the levels that it leaves; the event gives 500 XP."""

    name: str
    progress: Progress | None
    license: License | None
    level: int
    adjustment: int
    highest: int
    moved: list[tuple[int, int]]


FOUND = [
    Found("nothing", None, None, 2, 0, 2, [(1, 2)]),
    Found("both at one", Progress(), License(), 2, 0, 2, [(1, 2)]),
    Found("both, and XP that does not lift them", Progress(2, 600), License(2, 2), 2, 0, 2, []),
    Found("both adjusted up", Progress(4, 0, level_adjustment=3), License(4, 4), 5, 3, 5, [(4, 5)]),
    Found("both adjusted down", Progress(1, 1500, level_adjustment=-2), License(1, 3), 1, -2, 3, []),
    Found("an adjustment beyond the top", Progress(8, 0, level_adjustment=9), License(8, 8), 8, 9, 8, []),
    Found("an adjustment below the bottom", Progress(1, 0, level_adjustment=-5), License(1, 1), 1, -5, 1, []),
    Found("a license that once stood higher", Progress(1, 0), License(1, 6), 2, 0, 6, [(1, 2)]),
    Found("progress alone", Progress(3, 1500), None, 3, 0, 3, [(1, 3)]),
    Found("progress alone at one", Progress(1, -600), None, 1, 0, 1, []),
    Found("progress alone, adjusted", Progress(5, 0, level_adjustment=4), None, 6, 4, 6, [(1, 6)]),
    Found("progress alone, adjusted below the bottom", Progress(1, 0, level_adjustment=-5), None, 1, -5, 1, []),
    Found("progress alone, at a level that nothing explains", Progress(4, 0), None, 5, 3, 5, [(1, 5)]),
    Found("progress alone above the maximum", Progress(12, 0), None, 8, 7, 8, [(1, 8)]),
    Found("a license alone", None, License(4, 5), 5, 3, 5, [(4, 5)]),
    Found("a license alone at one", None, License(1, 1), 2, 0, 2, [(1, 2)]),
    Found("a license alone above the maximum", None, License(11, 11), 8, 7, 11, [(11, 8)]),
    Found("a license behind its progress", Progress(3, 1500), License(2, 2), 3, 0, 3, [(2, 3)]),
    Found("a license ahead of its progress", Progress(1, 0), License(6, 6), 2, 0, 6, [(6, 2)]),
    Found("a highest level below the current", Progress(3, 1500), License(3, 1), 3, 0, 3, []),
]


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.name)
def test_an_event_leaves_progress_and_license_together_at_the_level_that_holds(found: Found) -> None:
    student = Student(UserState(USER, LEVELS))
    student.state.progress |= {"PLAYER": found.progress} if found.progress else {}
    student.state.licenses |= {"PLAYER": found.license} if found.license else {}
    grant = student.grant(result(1))
    progress, license_ = student.state.progress["PLAYER"], student.state.licenses["PLAYER"]
    assert (progress.level, progress.level_adjustment) == (found.level, found.adjustment)
    assert (license_.level, license_.highest_level) == (found.level, found.highest)
    assert moves(grant) == [("PLAYER", *move) for move in found.moved]


@pytest.mark.parametrize(
    "event",
    [
        attendance("absent", specialization="COACH"),
        attendance("excused", specialization="COACH"),
        attendance("withdrawn", specialization="COACH"),
        result(1, status="withdrawn", specialization="COACH"),
        command(specialization="COACH", sessions_change=1),
    ],
    ids=["absent", "excused", "withdrawn session", "withdrawn result", "command"],
)
def test_an_event_that_earns_nothing_still_creates_progress_and_license_without_a_progression(event: object) -> None:
    student = Student()
    grant = student.grant(event)  # type: ignore[arg-type]
    assert student.state.progress.keys() == student.state.licenses.keys() == {"COACH"}
    assert student.state.progress["COACH"].level == student.state.licenses["COACH"].level == 1
    assert grant.level_changes == ()


def test_an_absence_brings_two_levels_together_that_were_apart() -> None:
    student = Student(UserState(USER, LEVELS, progress={"PLAYER": Progress(3, 1500)}, licenses={"PLAYER": License()}))
    grant = student.grant(attendance("absent"))
    assert moves(grant) == [("PLAYER", 1, 3)]
    assert grant.progress_after == {}
    assert student.state.licenses["PLAYER"] == License(3, 3)


def test_an_absence_of_a_settled_user_changes_neither_progress_nor_license() -> None:
    student = Student()
    student.grant(result(1))
    grant = student.grant(attendance("absent"))
    assert grant.progress_after == grant.licenses_after == {}


def test_the_highest_level_stays_when_a_correction_lowers_the_level() -> None:
    student = Student()
    grant = student.grant(result(1), result(None, revision=2))
    assert moves(grant) == [("PLAYER", 2, 1)]
    assert student.state.licenses["PLAYER"] == License(1, 2)


def test_xp_goes_on_counting_from_a_level_that_was_set_by_hand() -> None:
    student = Student()
    student.grant(command(new_level=4))
    assert moves(student.grant(result(1))) == [("PLAYER", 4, 5)]
    assert moves(student.grant(result(1, revision=2, status="withdrawn"))) == [("PLAYER", 5, 4)]
