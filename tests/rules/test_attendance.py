from collections.abc import Iterable

import pytest

from schemas.events import SessionAttendance
from schemas.payload import payload_hash
from schemas.rewards import Counted, License, Progress, Source, UserState
from tests.rules.academy import LEVELS, RULES, USER, Student, attendance, command, credits, skill_points, skills, xp

STATUSES = [
    # status, XP, credits, points per skill, counts
    ("present", 20, 2, 1, True),
    ("late", 10, 0, 0, True),
    ("absent", 0, 0, 0, False),
    ("excused", 0, 0, 0, False),
    ("withdrawn", 0, 0, 0, False),
]


def sessions(numbers: Iterable[int], status: str = "present", **fields: object) -> list[SessionAttendance]:
    return [attendance(status, session=number, **fields) for number in numbers]


def attended(count: int, paid: int) -> Student:
    """A student who comes with so many sessions in PLAYER, and so many milestones paid."""
    progress = {"PLAYER": Progress(sessions=count, milestones_paid=paid)}
    return Student(UserState(USER, LEVELS, progress=progress, licenses={"PLAYER": License()}))


@pytest.mark.parametrize(("status", "xp_earned", "credits_earned", "points", "counts"), STATUSES)
def test_an_attendance_earns_what_its_status_says(
    status: str, xp_earned: int, credits_earned: int, points: int, *, counts: bool
) -> None:
    student = Student()
    grant = student.grant(attendance(status, theory_hours=2, practice_hours=3, skills=skills("passing", speed=90.0)))
    assert grant.event_key == "session_789_presence_5"
    assert xp(grant) == ([("SESSION_ATTENDANCE", "PLAYER", xp_earned, "session_789_xp_5")] if xp_earned else [])
    expected = [("SESSION_ATTENDANCE", credits_earned, "session_789_attendance_5")] if credits_earned else []
    assert credits(grant) == expected
    assert skill_points(grant) == [("SESSION", skill, points) for skill in ("passing", "speed") if points]
    assert student.state.progress["PLAYER"] == Progress(1, xp_earned, *((1, 2, 3) if counts else (0, 0, 0)))
    assert grant.source_after.counted == (Counted("PLAYER", 1, 2, 3) if counts else None)
    assert grant.badge is None


def test_entries_of_a_session_name_no_semester_but_the_session_as_their_source() -> None:
    grant = Student().grant(attendance(skills=skills("passing")))
    assert [entry.semester_id for entry in (*grant.xp, *grant.credits)] == [None, None]
    assert [entry.source_id for entry in grant.skills] == [789]


def test_a_session_rates_no_skill() -> None:
    student = Student()
    assert student.grant(attendance(skills=skills(passing=90.0))).results_after == {}
    assert student.ratings() == {}


def test_a_session_counts_in_the_specialization_it_names() -> None:
    student = Student()
    student.grant(attendance(specialization="COACH", theory_hours=4))
    assert student.state.progress == {"COACH": Progress(1, 20, 1, 4, 0)}


def test_every_tenth_session_pays_fifty_credits_once() -> None:
    student = Student()
    grants = [student.grant(event) for event in sessions(range(1, 31))]
    paid = {number: credits(grant)[1:] for number, grant in enumerate(grants, start=1) if len(grant.credits) > 1}
    assert paid == {
        number: [("ATTENDANCE_BONUS", 50, f"session_{number}_attendance_bonus_5")] for number in (10, 20, 30)
    }
    assert student.state.progress["PLAYER"].milestones_paid == 3
    assert student.state.credit_balance == 30 * 2 + 3 * 50


@pytest.mark.parametrize("status", ["present", "late"])
def test_a_session_that_counts_completes_the_milestone(status: str) -> None:
    grant = attended(9, 0).grant(attendance(status))
    assert credits(grant)[-1] == ("ATTENDANCE_BONUS", 50, "session_789_attendance_bonus_5")


@pytest.mark.parametrize("status", ["absent", "excused", "withdrawn"])
def test_a_milestone_that_was_passed_otherwise_is_paid_by_any_attendance_event(status: str) -> None:
    grant = attended(10, 0).grant(attendance(status))
    assert credits(grant) == [("ATTENDANCE_BONUS", 50, "session_789_attendance_bonus_5")]


def test_a_command_that_adds_sessions_pays_nothing_and_the_next_attendance_pays_for_all_milestones_at_once() -> None:
    student = Student()
    assert student.grant(command(sessions_change=25)).credits == ()
    grant = student.grant(attendance("absent"))
    assert credits(grant) == [("ATTENDANCE_BONUS", 100, "session_789_attendance_bonus_5")]
    assert student.state.progress["PLAYER"].milestones_paid == 2


def test_a_milestone_is_counted_in_each_specialization_by_itself() -> None:
    student = Student()
    student.deliver(*sessions(range(1, 10)), *sessions(range(11, 20), specialization="COACH"))
    assert len(student.grant(attendance(session=20)).credits) == 2
    assert student.state.progress["COACH"].milestones_paid == 0


def test_milestones_that_adoption_counts_as_paid_are_not_paid_again() -> None:
    student = attended(29, 2)
    assert credits(student.grant(attendance()))[-1] == ("ATTENDANCE_BONUS", 50, "session_789_attendance_bonus_5")


def test_a_milestone_lost_and_reached_again_is_not_paid_again_nor_taken_back() -> None:
    student = Student()
    student.deliver(*sessions(range(1, 11)))
    lost = student.grant(attendance("absent", session=3, revision=2))
    assert credits(lost) == [("SESSION_ATTENDANCE_R2", -2, "session_3_attendance_5_r2")]
    again = student.grant(attendance("present", session=11))
    assert credits(again) == [("SESSION_ATTENDANCE", 2, "session_11_attendance_5")]
    assert student.state.progress["PLAYER"].milestones_paid == 1


def test_a_correction_that_completes_a_milestone_pays_a_bonus_under_its_revision() -> None:
    student = Student()
    student.deliver(*sessions(range(1, 10)), attendance("absent", session=10))
    grant = student.grant(attendance("late", session=10, revision=4))
    assert credits(grant) == [("ATTENDANCE_BONUS_R4", 50, "session_10_attendance_bonus_5_r4")]


def test_a_correction_does_not_take_a_bonus_that_its_session_earned() -> None:
    student = Student()
    student.deliver(*sessions(range(1, 11)))
    grant = student.grant(attendance("withdrawn", session=10, revision=2))
    assert credits(grant) == [("SESSION_ATTENDANCE_R2", -2, "session_10_attendance_5_r2")]


def test_sessions_below_zero_pay_nothing() -> None:
    student = Student()
    student.deliver(attendance(), command(sessions_change=-1))
    grant = student.grant(attendance("withdrawn", revision=2))
    assert student.state.progress["PLAYER"].sessions == -1
    assert len(grant.credits) == 1


def test_the_source_remembers_what_was_given_and_by_which_ruleset() -> None:
    event = attendance(specialization="COACH", theory_hours=2, skills=skills("passing"))
    assert Student().grant(event).source_after == Source(
        revision=1,
        payload_hash=payload_hash(event),
        ruleset=RULES.hash,
        specialization="COACH",
        xp_given={"COACH": 20},
        credits_given=2,
        skills_given={"passing": 1},
        counted=Counted("COACH", 1, 2, 0),
    )
