from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from schemas.events import SessionAttendance, TournamentResult
from schemas.rewards import Counted, Duplicate, Grant, Progress, Refused, Stale
from tests.rules.academy import Student, attendance, command, credits, day, result, skill_points, skills, xp

Entries = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """Events of one source, and what the last of them posts."""

    name: str
    events: tuple[TournamentResult | SessionAttendance, ...]
    xp: Entries = field(default_factory=list)
    credits: Entries = field(default_factory=list)
    skills: Entries = field(default_factory=list)
    badge: str | None = None
    revoked: tuple[str, ...] = ()
    totals: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)


PASSING, SPEED = skills("passing"), skills("speed")

TOURNAMENT_CASES = [
    Case(
        "a better placement",
        (result(3, skills=PASSING), result(1, revision=2, skills=PASSING)),
        xp=[("TOURNAMENT_REWARD_R2", "PLAYER", 300, "tournament_227_xp_5_r2")],
        credits=[("TOURNAMENT_REWARD_R2", 60, "tournament_227_reward_5_r2")],
        skills=[("TOURNAMENT_R2", "passing", 5)],
        badge="CHAMPION",
        revoked=("THIRD_PLACE",),
        totals={"PLAYER": (500, 0, 0, 0)},
    ),
    Case(
        "a worse placement",
        (result(1, skills=PASSING), result(5, revision=2, skills=PASSING)),
        xp=[("TOURNAMENT_REWARD_R2", "PLAYER", -400, "tournament_227_xp_5_r2")],
        credits=[("TOURNAMENT_REWARD_R2", -90, "tournament_227_reward_5_r2")],
        skills=[("TOURNAMENT_R2", "passing", -7)],
        revoked=("CHAMPION",),
        totals={"PLAYER": (100, 0, 0, 0)},
    ),
    Case(
        "the same band posts nothing, and leaves the badge",
        (result(1, participants=8), result(1, revision=2, participants=16)),
        totals={"PLAYER": (500, 0, 0, 0)},
    ),
    Case(
        "a placement within its band posts nothing",
        (result(4), result(8, revision=2)),
        totals={"PLAYER": (100, 0, 0, 0)},
    ),
    Case(
        "skills exchanged",
        (result(4, skills=PASSING), result(4, revision=2, skills=SPEED)),
        skills=[("TOURNAMENT_R2", "speed", 3), ("TOURNAMENT_R2", "passing", -3)],
        totals={"PLAYER": (100, 0, 0, 0)},
    ),
    Case(
        "moved to another specialization",
        (result(1), result(1, revision=2, specialization="COACH")),
        xp=[
            ("TOURNAMENT_REWARD_REVERSAL_R2", "PLAYER", -500, "tournament_227_xp_5_r2_reversal"),
            ("TOURNAMENT_REWARD_R2", "COACH", 500, "tournament_227_xp_5_r2"),
        ],
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (500, 0, 0, 0)},
    ),
    Case(
        "moved and better at once",
        (result(2), result(1, revision=2, specialization="COACH")),
        xp=[
            ("TOURNAMENT_REWARD_REVERSAL_R2", "PLAYER", -300, "tournament_227_xp_5_r2_reversal"),
            ("TOURNAMENT_REWARD_R2", "COACH", 500, "tournament_227_xp_5_r2"),
        ],
        credits=[("TOURNAMENT_REWARD_R2", 40, "tournament_227_reward_5_r2")],
        badge="CHAMPION",
        revoked=("RUNNER_UP",),
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (500, 0, 0, 0)},
    ),
    Case(
        "moved, and moved back",
        (result(1), result(1, revision=2, specialization="COACH"), result(2, revision=3)),
        xp=[
            ("TOURNAMENT_REWARD_REVERSAL_R3", "COACH", -500, "tournament_227_xp_5_r3_reversal"),
            ("TOURNAMENT_REWARD_R3", "PLAYER", 300, "tournament_227_xp_5_r3"),
        ],
        credits=[("TOURNAMENT_REWARD_R3", -40, "tournament_227_reward_5_r3")],
        badge="RUNNER_UP",
        revoked=("CHAMPION",),
        totals={"PLAYER": (300, 0, 0, 0), "COACH": (0, 0, 0, 0)},
    ),
    Case(
        "withdrawn",
        (result(1, skills=PASSING), result(1, revision=2, status="withdrawn")),
        xp=[("TOURNAMENT_REWARD_R2", "PLAYER", -500, "tournament_227_xp_5_r2")],
        credits=[("TOURNAMENT_REWARD_R2", -100, "tournament_227_reward_5_r2")],
        skills=[("TOURNAMENT_R2", "passing", -10)],
        revoked=("CHAMPION",),
        totals={"PLAYER": (0, 0, 0, 0)},
    ),
    Case(
        "withdrawn by an event that names another specialization: taken back where it was given, and no reversal",
        (result(3), result(3, revision=2, status="withdrawn", specialization="COACH")),
        xp=[("TOURNAMENT_REWARD_R2", "PLAYER", -200, "tournament_227_xp_5_r2")],
        credits=[("TOURNAMENT_REWARD_R2", -40, "tournament_227_reward_5_r2")],
        revoked=("THIRD_PLACE",),
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (0, 0, 0, 0)},
    ),
    Case(
        "final again after a withdrawal: the badge's revocation is lifted",
        (result(1), result(1, revision=2, status="withdrawn"), result(1, revision=3)),
        xp=[("TOURNAMENT_REWARD_R3", "PLAYER", 500, "tournament_227_xp_5_r3")],
        credits=[("TOURNAMENT_REWARD_R3", 100, "tournament_227_reward_5_r3")],
        badge="CHAMPION",
        totals={"PLAYER": (500, 0, 0, 0)},
    ),
    Case(
        "final elsewhere after a withdrawal: nothing is left to reverse",
        (result(9), result(9, revision=2, status="withdrawn"), result(9, revision=3, specialization="COACH")),
        xp=[("TOURNAMENT_REWARD_R3", "COACH", 50, "tournament_227_xp_5_r3")],
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (50, 0, 0, 0)},
    ),
    Case(
        "final after a withdrawal that came first",
        (result(9, status="withdrawn"), result(9, revision=2)),
        xp=[("TOURNAMENT_REWARD_R2", "PLAYER", 50, "tournament_227_xp_5_r2")],
        totals={"PLAYER": (50, 0, 0, 0)},
    ),
    Case(
        "withdrawn twice posts nothing the second time",
        (result(1), result(1, revision=2, status="withdrawn"), result(1, revision=3, status="withdrawn")),
        totals={"PLAYER": (0, 0, 0, 0)},
    ),
    Case(
        "revision numbers skipped",
        (result(9), result(4, revision=7)),
        xp=[("TOURNAMENT_REWARD_R7", "PLAYER", 50, "tournament_227_xp_5_r7")],
        credits=[("TOURNAMENT_REWARD_R7", 10, "tournament_227_reward_5_r7")],
        totals={"PLAYER": (100, 0, 0, 0)},
    ),
    Case(
        "a correction of a first event with revision 3",
        (result(9, revision=3), result(4, revision=4)),
        xp=[("TOURNAMENT_REWARD_R4", "PLAYER", 50, "tournament_227_xp_5_r4")],
        credits=[("TOURNAMENT_REWARD_R4", 10, "tournament_227_reward_5_r4")],
        totals={"PLAYER": (100, 0, 0, 0)},
    ),
    Case(
        "a correction of a correction: the difference to the sum so far",
        (result(1), result(2, revision=2), result(3, revision=3)),
        xp=[("TOURNAMENT_REWARD_R3", "PLAYER", -100, "tournament_227_xp_5_r3")],
        credits=[("TOURNAMENT_REWARD_R3", -20, "tournament_227_reward_5_r3")],
        badge="THIRD_PLACE",
        revoked=("RUNNER_UP",),
        totals={"PLAYER": (200, 0, 0, 0)},
    ),
]

HOURS = {"theory_hours": 2, "practice_hours": 3}

SESSION_CASES = [
    Case(
        "late after all",
        (attendance("present", skills=PASSING, **HOURS), attendance("late", revision=2, skills=PASSING, **HOURS)),
        xp=[("SESSION_ATTENDANCE_R2", "PLAYER", -10, "session_789_xp_5_r2")],
        credits=[("SESSION_ATTENDANCE_R2", -2, "session_789_attendance_5_r2")],
        skills=[("SESSION_R2", "passing", -1)],
        totals={"PLAYER": (10, 1, 2, 3)},
    ),
    Case(
        "present after all",
        (attendance("absent", **HOURS), attendance("present", revision=2, **HOURS)),
        xp=[("SESSION_ATTENDANCE_R2", "PLAYER", 20, "session_789_xp_5_r2")],
        credits=[("SESSION_ATTENDANCE_R2", 2, "session_789_attendance_5_r2")],
        totals={"PLAYER": (20, 1, 2, 3)},
    ),
    Case(
        "other hours",
        (attendance(**HOURS), attendance(revision=2, theory_hours=7)),
        totals={"PLAYER": (20, 1, 7, 0)},
    ),
    Case(
        "moved to another specialization, sessions and hours with it",
        (attendance(**HOURS), attendance(revision=2, specialization="COACH", theory_hours=1)),
        xp=[
            ("SESSION_ATTENDANCE_REVERSAL_R2", "PLAYER", -20, "session_789_xp_5_r2_reversal"),
            ("SESSION_ATTENDANCE_R2", "COACH", 20, "session_789_xp_5_r2"),
        ],
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (20, 1, 1, 0)},
    ),
    Case(
        "absent elsewhere: what leaves is a reversal, and nothing arrives",
        (attendance(**HOURS), attendance("absent", revision=2, specialization="COACH")),
        xp=[("SESSION_ATTENDANCE_REVERSAL_R2", "PLAYER", -20, "session_789_xp_5_r2_reversal")],
        credits=[("SESSION_ATTENDANCE_R2", -2, "session_789_attendance_5_r2")],
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (0, 0, 0, 0)},
    ),
    Case(
        "withdrawn by an event that names another specialization",
        (attendance(**HOURS), attendance("withdrawn", revision=2, specialization="COACH", **HOURS)),
        xp=[("SESSION_ATTENDANCE_R2", "PLAYER", -20, "session_789_xp_5_r2")],
        credits=[("SESSION_ATTENDANCE_R2", -2, "session_789_attendance_5_r2")],
        totals={"PLAYER": (0, 0, 0, 0), "COACH": (0, 0, 0, 0)},
    ),
    Case(
        "present again after a withdrawal",
        (attendance("late"), attendance("withdrawn", revision=2), attendance("present", revision=5, **HOURS)),
        xp=[("SESSION_ATTENDANCE_R5", "PLAYER", 20, "session_789_xp_5_r5")],
        credits=[("SESSION_ATTENDANCE_R5", 2, "session_789_attendance_5_r5")],
        totals={"PLAYER": (20, 1, 2, 3)},
    ),
]


def totals(student: Student) -> dict[str, tuple[int, int, int, int]]:
    return {
        name: (progress.total_xp, progress.sessions, progress.theory_hours, progress.practice_hours)
        for name, progress in student.state.progress.items()
    }


@pytest.mark.parametrize("together", [False, True], ids=["in batches of their own", "in one batch"])
@pytest.mark.parametrize("case", [*TOURNAMENT_CASES, *SESSION_CASES], ids=lambda case: case.name)
def test_a_correction_posts_the_difference_to_what_was_given(case: Case, *, together: bool) -> None:
    student = Student()
    grant = student.deliver_together(*case.events)[-1] if together else student.deliver(*case.events)
    assert isinstance(grant, Grant)
    assert xp(grant) == case.xp
    assert credits(grant) == case.credits
    assert skill_points(grant) == case.skills
    assert (grant.badge, grant.revoked_badges) == (case.badge, case.revoked)
    assert totals(student) == case.totals


def test_a_correction_names_the_first_receipt_and_has_one_of_its_own() -> None:
    student = Student()
    grant = student.grant(result(1), result(2, revision=4))
    assert (grant.event_key, grant.corrects) == ("tournament_227_result_5_r4", "tournament_227_result_5")
    grant = student.grant(result(3, revision=5))
    assert (grant.event_key, grant.corrects) == ("tournament_227_result_5_r5", "tournament_227_result_5")
    grant = student.grant(attendance(), attendance("late", revision=2))
    assert (grant.event_key, grant.corrects) == ("session_789_presence_5_r2", "session_789_presence_5")


def test_corrections_keep_the_semester_of_a_tournament_and_the_lack_of_one_of_a_session() -> None:
    student = Student()
    moved = student.grant(result(1), result(2, revision=2, specialization="COACH"))
    assert {entry.semester_id for entry in (*moved.xp, *moved.credits)} == {227}
    late = student.grant(attendance(), attendance("late", revision=2))
    assert {entry.semester_id for entry in (*late.xp, *late.credits)} == {None}


def test_a_correction_counts_for_what_it_says_itself() -> None:
    student = Student()
    moved = student.grant(attendance(), attendance(revision=2, specialization="COACH", theory_hours=3))
    assert moved.source_after.counted == Counted("COACH", 1, 3, 0)
    assert moved.source_after.specialization == "COACH"
    withdrawn = student.grant(attendance("withdrawn", revision=3))
    assert withdrawn.source_after.counted is None
    assert withdrawn.source_after.specialization == "COACH"


def test_a_correction_may_leave_xp_sessions_and_hours_below_zero() -> None:
    student = Student()
    spent = command(xp_change=-20, sessions_change=-1, theory_hours_change=-2, practice_hours_change=-3)
    student.deliver(attendance(**HOURS), spent, attendance("withdrawn", revision=2))
    assert student.state.progress["PLAYER"] == Progress(1, -20, -1, -2, -3)


def test_a_correction_may_leave_a_debt_of_credits() -> None:
    student = Student()
    student.deliver(result(1))
    student.state.credit_balance -= 100
    student.deliver(result(1, revision=2, status="withdrawn"))
    assert student.state.credit_balance == -100


def test_a_lower_revision_is_stale() -> None:
    student = Student()
    student.deliver(result(1, revision=3))
    assert student.deliver(result(2, revision=2)) == Stale("tournament_227_result_5")
    assert student.deliver(result(1, revision=1)) == Stale("tournament_227_result_5")
    student.deliver(attendance(revision=2))
    assert student.deliver(attendance(revision=1)) == Stale("session_789_presence_5")


@pytest.mark.parametrize("event", [result(1, revision=2), attendance(revision=2)], ids=["result", "attendance"])
def test_the_same_revision_with_the_same_payload_is_a_duplicate(event: TournamentResult | SessionAttendance) -> None:
    student = Student()
    first, again = student.deliver_together(event, msgspec.structs.replace(event, event_id="another"))
    assert isinstance(first, Grant)
    assert again == Duplicate(first.event_key)
    assert student.deliver(event) == Duplicate(first.event_key)


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (result(1), result(2)),
        (result(1), result(1, occurred_at=day(1))),
        (result(1), result(1, status="withdrawn")),
        (attendance(), attendance(minutes=1)),
    ],
    ids=["another placement", "another moment", "another status", "other minutes"],
)
def test_the_same_revision_with_another_payload_is_a_conflict_that_leaves_no_receipt(
    event: TournamentResult | SessionAttendance, other: TournamentResult | SessionAttendance
) -> None:
    student = Student()
    recorded = student.grant(event)
    refused = student.deliver(other)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.event_key, refused.source_after) == ("conflict", recorded.event_key, None)
    assert student.deliver(event) == Duplicate(recorded.event_key)


def test_duplicates_and_conflicts_are_told_by_the_last_revision() -> None:
    student = Student()
    student.deliver(result(1), result(2, revision=2))
    assert isinstance(student.deliver(result(2, revision=2)), Duplicate)
    assert isinstance(student.deliver(result(3, revision=2)), Refused)


def test_one_users_source_is_not_anothers() -> None:
    student = Student()
    student.deliver(result(1))
    assert isinstance(student.deliver(attendance(session=227)), Grant)
    assert isinstance(student.deliver(result(1, tournament=228)), Grant)
