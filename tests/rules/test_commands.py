from typing import Any

import pytest

from schemas.payload import payload_hash
from schemas.rewards import Duplicate, Grant, License, Progress, Refused, Source, UserState
from tests.rules.academy import (
    LEVELS,
    RULES,
    USER,
    Student,
    attendance,
    command,
    credits,
    day,
    moves,
    result,
    xp,
)

KEY = "command_c-1_level_5"


def standing(**totals: int) -> Student:
    progress = Progress(
        **{"total_xp": 600, "sessions": 4, "theory_hours": 3, "practice_hours": 2, "level": 2, **totals}
    )
    return Student(UserState(USER, LEVELS, progress={"PLAYER": progress}, licenses={"PLAYER": License(2, 2)}))


OBEYED: list[tuple[str, dict[str, Any], Progress]] = [
    ("a level", {"new_level": 5}, Progress(5, 600, 4, 3, 2, level_adjustment=3)),
    ("a lower level", {"new_level": 1}, Progress(1, 600, 4, 3, 2, level_adjustment=-1)),
    ("the lowest and the highest level there is", {"new_level": 8}, Progress(8, 600, 4, 3, 2, level_adjustment=6)),
    ("the level that XP gives", {"new_level": 2}, Progress(2, 600, 4, 3, 2)),
    ("XP", {"xp_change": 900}, Progress(3, 1500, 4, 3, 2)),
    ("less XP", {"xp_change": -101}, Progress(1, 499, 4, 3, 2)),
    ("XP and a level: the level is reckoned from the XP after", {"xp_change": 900, "new_level": 2},
     Progress(2, 1500, 4, 3, 2, level_adjustment=-1)),
    ("sessions", {"sessions_change": 6}, Progress(2, 600, 10, 3, 2)),
    ("hours", {"theory_hours_change": 2, "practice_hours_change": -2}, Progress(2, 600, 4, 5, 0)),
    ("everything down to zero", {"xp_change": -600, "sessions_change": -4, "theory_hours_change": -3,
                                 "practice_hours_change": -2}, Progress(1, 0, 0, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "after"), [row[1:] for row in OBEYED], ids=[row[0] for row in OBEYED])
def test_a_command_changes_what_it_says(fields: dict[str, Any], after: Progress) -> None:
    student = standing()
    grant = student.grant(command(**fields))
    assert grant.event_key == KEY
    assert student.state.progress["PLAYER"] == after
    assert student.state.licenses["PLAYER"].level == after.level
    assert moves(grant) == ([("PLAYER", 2, after.level)] if after.level != 2 else [])
    change = fields.get("xp_change", 0)
    assert xp(grant) == ([("LEVEL_COMMAND", "PLAYER", change, "command_c-1_xp_5")] if change else [])
    assert student.state.xp_balance == change
    assert [entry.semester_id for entry in grant.xp] in ([], [None])
    assert (grant.credits, grant.skills, grant.corrects) == ((), (), None)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("nothing at all", {}, "empty_command", "new_level"),
    ("nothing but a reason", {"reason": "because", "advanced_by": 3}, "empty_command", "new_level"),
    ("level 0", {"new_level": 0}, "invalid_level", "new_level"),
    ("a negative level", {"new_level": -1}, "invalid_level", "new_level"),
    ("the level above the last", {"new_level": 9}, "invalid_level", "new_level"),
    ("level 999", {"new_level": 999}, "invalid_level", "new_level"),
    ("the largest integer", {"new_level": 2**63 - 1}, "invalid_level", "new_level"),
    ("a level that only other specializations have", {"specialization": "INTERNSHIP", "new_level": 4}, "invalid_level",
     "new_level"),
    ("an invalid level comes before a negative total", {"new_level": 0, "xp_change": -601}, "invalid_level", "new_level"),
    ("XP below zero", {"xp_change": -601}, "negative_total", "xp_change"),
    ("XP below zero, whatever level is ordered", {"xp_change": -601, "new_level": 3}, "negative_total", "xp_change"),
    ("sessions below zero", {"sessions_change": -5}, "negative_total", "sessions_change"),
    ("theory hours below zero", {"theory_hours_change": -4}, "negative_total", "theory_hours_change"),
    ("practice hours below zero", {"practice_hours_change": -3}, "negative_total", "practice_hours_change"),
    ("hours below zero where there is no progress", {"specialization": "COACH", "theory_hours_change": -1},
     "negative_total", "theory_hours_change"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "reason", "field"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_command_that_cannot_be_obeyed_is_refused_for_good(fields: dict[str, Any], reason: str, field: str) -> None:
    student = standing()
    before = dict(student.state.progress)
    event = command(**fields)
    refused = student.deliver(event)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.event_key) == (reason, KEY)
    assert field in refused.detail
    assert refused.source_after == Source(1, payload_hash(event), RULES.hash)
    assert student.state.progress == before
    assert student.state.licenses.keys() == {"PLAYER"}


def test_a_total_that_is_negative_already_may_rise_without_reaching_zero() -> None:
    student = standing(sessions=-5)
    student.grant(command(sessions_change=2))
    assert student.state.progress["PLAYER"].sessions == -3


def test_a_change_of_nothing_to_a_negative_total_is_no_reason_to_refuse() -> None:
    student = standing(sessions=-5)
    student.grant(command(xp_change=-1))
    assert student.state.progress["PLAYER"].total_xp == 599


def test_a_command_creates_progress_and_license_in_its_specialization() -> None:
    student = Student()
    grant = student.grant(command(specialization="INTERNSHIP", new_level=3))
    assert student.state.progress == {"INTERNSHIP": Progress(3, level_adjustment=2)}
    assert student.state.licenses == {"INTERNSHIP": License(3, 3)}
    assert moves(grant) == [("INTERNSHIP", 1, 3)]


def test_a_command_for_a_level_overrides_the_level_of_a_license_that_stood_alone() -> None:
    student = Student(UserState(USER, LEVELS, licenses={"PLAYER": License(6, 6)}))
    grant = student.grant(command(new_level=2))
    assert moves(grant) == [("PLAYER", 6, 2)]
    assert student.state.progress == {"PLAYER": Progress(2, level_adjustment=1)}


def test_setting_the_level_that_xp_gives_clears_an_adjustment() -> None:
    student = standing()
    student.deliver(command(command_id="up", new_level=6), command(command_id="back", new_level=2))
    assert student.state.progress["PLAYER"].level_adjustment == 0


def test_a_command_pays_no_bonus() -> None:
    student = standing()
    assert credits(student.grant(command(sessions_change=6))) == []
    assert credits(student.grant(attendance()))[-1] == ("ATTENDANCE_BONUS", 50, "session_789_attendance_bonus_5")


def test_a_command_delivered_again_is_a_duplicate_even_with_another_time() -> None:
    student = Student()
    first, again = student.deliver_together(command(xp_change=10), command(xp_change=10, occurred_at=day(1)))
    assert isinstance(first, Grant)
    assert again == Duplicate(KEY)
    assert student.state.progress["PLAYER"].total_xp == 10


@pytest.mark.parametrize(
    "fields", [{"xp_change": 11}, {"xp_change": 10, "reason": "x"}, {"xp_change": 10, "advanced_by": 2}]
)
def test_a_command_with_another_payload_is_a_conflict(fields: dict[str, Any]) -> None:
    student = Student()
    student.grant(command(xp_change=10))
    conflict = student.deliver(command(**fields))
    assert isinstance(conflict, Refused)
    assert (conflict.reason, conflict.event_key, conflict.source_after) == ("conflict", KEY, None)


def test_a_refused_command_stays_refused_when_it_could_be_obeyed_later() -> None:
    student = Student()
    refused, earned, again = student.deliver_together(command(xp_change=-400), result(1), command(xp_change=-400))
    assert isinstance(refused, Refused)
    assert isinstance(earned, Grant)
    assert again == Duplicate(KEY)
    assert isinstance(student.deliver(command(xp_change=-300)), Refused)
    assert student.state.progress["PLAYER"].total_xp == 500


def test_the_source_remembers_the_command_and_by_which_ruleset_it_was_decided() -> None:
    student = Student()
    event = command(specialization="COACH", xp_change=7)
    assert student.grant(event).source_after == Source(1, payload_hash(event), RULES.hash, xp_given={"COACH": 7})
    event = command(command_id="c-2", new_level=2)
    assert student.grant(event).source_after == Source(1, payload_hash(event), RULES.hash)


def test_a_refusal_says_what_would_have_been_left() -> None:
    refused = standing().deliver(command(sessions_change=-6))
    assert isinstance(refused, Refused)
    assert refused.detail == "sessions_change: -6 would leave -2"
