"""What an adopted database had counts as given."""

from schemas.events import TournamentResult
from schemas.rewards import Counted, Duplicate, License, Progress, Refused, Source, UserState
from tests.rules.academy import LEVELS, USER, Student, attendance, credits, result, skill_points, skills, xp

RESULT_KEY = "tournament_227_result_5"
SESSION_KEY = "session_789_presence_5"


def adopted_result(**fields: object) -> Source:
    """A tournament that the academy rewarded twice over before it was adopted."""
    given = {
        "xp_given": {"PLAYER": 450},
        "credits_given": 200,
        "skills_given": {"passing": 8},
        "badges": frozenset({"CHAMPION", "FAIR_PLAY"}),
        "specialization": "PLAYER",
    }
    return Source(1, None, **{**given, **fields})  # type: ignore[arg-type]


def student_with(key: str, source: Source) -> Student:
    state = UserState(USER, LEVELS, progress={"PLAYER": Progress(1, 450)}, licenses={"PLAYER": License()})
    state.sources[key] = source
    return Student(state)


def test_the_first_revision_one_is_a_duplicate_whose_payload_counts_from_then_on() -> None:
    student = student_with(RESULT_KEY, adopted_result())
    first, again, other = student.deliver_together(result(1), result(1), result(2))
    assert isinstance(first, Duplicate)
    assert first.event_key == RESULT_KEY
    assert first.remember is not None
    assert again == Duplicate(RESULT_KEY)
    assert isinstance(other, Refused)
    assert other.reason == "conflict"
    assert student.state.progress["PLAYER"].total_xp == 450


def test_a_session_is_adopted_likewise() -> None:
    student = student_with(SESSION_KEY, Source(1, None, xp_given={"PLAYER": 20}))
    first = student.deliver(attendance())
    assert isinstance(first, Duplicate)
    assert first.remember is not None
    assert isinstance(student.deliver(attendance("late")), Refused)


def test_a_correction_posts_the_difference_to_what_was_given_before_adoption() -> None:
    student = student_with(RESULT_KEY, adopted_result())
    grant = student.grant(result(2, revision=2, skills=skills("passing", "speed")))
    assert (grant.event_key, grant.corrects) == ("tournament_227_result_5_r2", RESULT_KEY)
    assert xp(grant) == [("TOURNAMENT_REWARD_R2", "PLAYER", -150, "tournament_227_xp_5_r2")]
    assert credits(grant) == [("TOURNAMENT_REWARD_R2", -140, "tournament_227_reward_5_r2")]
    assert skill_points(grant) == [("TOURNAMENT_R2", "passing", -1), ("TOURNAMENT_R2", "speed", 7)]


def test_a_correction_leaves_badges_that_no_placement_earns() -> None:
    student = student_with(RESULT_KEY, adopted_result())
    grant = student.grant(result(2, revision=2))
    assert (grant.badge, grant.revoked_badges) == ("RUNNER_UP", ("CHAMPION",))
    assert grant.source_after.badges == {"RUNNER_UP", "FAIR_PLAY"}


def test_a_correction_revokes_every_placement_badge_but_the_earned_one_which_is_not_granted_again() -> None:
    badges = frozenset({"CHAMPION", "RUNNER_UP", "THIRD_PLACE"})
    grant = student_with(RESULT_KEY, adopted_result(badges=badges)).grant(result(2, revision=2))
    assert (grant.badge, grant.revoked_badges) == (None, ("CHAMPION", "THIRD_PLACE"))


def test_a_withdrawal_takes_back_what_was_given_before_adoption() -> None:
    student = student_with(RESULT_KEY, adopted_result())
    grant = student.grant(result(1, revision=2, status="withdrawn"))
    assert xp(grant) == [("TOURNAMENT_REWARD_R2", "PLAYER", -450, "tournament_227_xp_5_r2")]
    assert credits(grant) == [("TOURNAMENT_REWARD_R2", -200, "tournament_227_reward_5_r2")]
    assert skill_points(grant) == [("TOURNAMENT_R2", "passing", -8)]
    assert (grant.badge, grant.revoked_badges) == (None, ("CHAMPION",))


def test_a_correction_to_another_specialization_reverses_the_players_xp() -> None:
    student = student_with(RESULT_KEY, adopted_result(specialization=None))
    grant = student.grant(result(1, revision=2, specialization="COACH"))
    assert xp(grant) == [
        ("TOURNAMENT_REWARD_REVERSAL_R2", "PLAYER", -450, "tournament_227_xp_5_r2_reversal"),
        ("TOURNAMENT_REWARD_R2", "COACH", 500, "tournament_227_xp_5_r2"),
    ]
    assert grant.source_after.specialization == "COACH"


def test_an_adopted_participation_counts_for_a_rating_only_when_a_correction_replaces_it() -> None:
    student = student_with(RESULT_KEY, adopted_result())
    student.deliver(result(1, skills=skills(passing=100.0)))
    assert student.ratings() == {}
    student.deliver(result(1, revision=2, skills=skills(passing=100.0)))
    assert student.ratings() == {"passing": (60.0, 1)}


def test_an_adopted_session_counts_only_when_a_correction_replaces_it() -> None:
    student = student_with(SESSION_KEY, Source(1, None, xp_given={"PLAYER": 20}, credits_given=2))
    grant = student.grant(attendance(revision=2, theory_hours=2))
    assert (grant.xp, grant.credits) == ((), ())
    assert grant.source_after.counted == Counted("PLAYER", 1, 2, 0)
    assert student.state.progress["PLAYER"] == Progress(1, 450, 1, 2, 0)


def test_a_withdrawn_adopted_session_leaves_the_sessions_alone() -> None:
    student = student_with(SESSION_KEY, Source(1, None, xp_given={"PLAYER": 20}, credits_given=2))
    student.deliver(attendance("withdrawn", revision=2))
    assert student.state.progress["PLAYER"] == Progress(1, 430)


def test_a_withdrawal_of_a_source_without_a_row_gives_it_one_with_the_withdrawals_values() -> None:
    event: TournamentResult = result(1, revision=2, status="withdrawn", specialization="COACH")
    grant = student_with(RESULT_KEY, adopted_result(specialization=None)).grant(event)
    assert grant.source_after.specialization == "COACH"


def test_a_session_leaves_the_specialization_it_counted_in_also_where_it_gave_no_xp() -> None:
    source = Source(2, b"2", specialization="PLAYER", counted=Counted("PLAYER", 1, 2, 3))
    student = student_with(SESSION_KEY, source)
    student.grant(attendance(revision=3, specialization="COACH"))
    assert student.state.progress == {"PLAYER": Progress(1, 450, -1, -2, -3), "COACH": Progress(1, 20, 1)}
