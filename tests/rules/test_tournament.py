import pytest

from schemas.payload import payload_hash
from schemas.rewards import Progress, Source
from schemas.ruleset import from_canonical_json, to_canonical_json
from tests.rules.academy import RULES, USER, Student, credits, day, moves, result, skill_points, skills, xp

BANDS = [
    # placement, XP, credits, points per skill, badge
    (1, 500, 100, 10, "CHAMPION"),
    (2, 300, 60, 7, "RUNNER_UP"),
    (3, 200, 40, 5, "THIRD_PLACE"),
    (4, 100, 10, 3, None),
    (8, 100, 10, 3, None),
    (9, 50, 0, 1, None),
    (100_000, 50, 0, 1, None),
    (None, 50, 0, 1, None),
]


@pytest.mark.parametrize(("placement", "xp_earned", "credits_earned", "points", "badge"), BANDS)
def test_a_placement_earns_what_its_band_says(
    placement: int | None, xp_earned: int, credits_earned: int, points: int, badge: str | None
) -> None:
    student = Student()
    grant = student.grant(result(placement, skills=skills("passing", "speed")))
    assert grant.event_key == "tournament_227_result_5"
    assert xp(grant) == [("TOURNAMENT_REWARD", "PLAYER", xp_earned, "tournament_227_xp_5")]
    expected = [("TOURNAMENT_REWARD", credits_earned, "tournament_227_reward_5")] if credits_earned else []
    assert credits(grant) == expected
    assert skill_points(grant) == [("TOURNAMENT", "passing", points), ("TOURNAMENT", "speed", points)]
    assert (grant.badge, grant.revoked_badges, grant.corrects) == (badge, (), None)
    assert (student.state.xp_balance, student.state.credit_balance) == (xp_earned, credits_earned)
    assert student.state.progress["PLAYER"].total_xp == xp_earned


def test_entries_of_a_tournament_name_it_as_their_semester() -> None:
    grant = Student().grant(result(1, skills=skills("passing")))
    assert [entry.semester_id for entry in grant.xp] == [entry.semester_id for entry in grant.credits] == [227]
    assert [entry.source_id for entry in grant.skills] == [227]
    assert [entry.user_id for entry in grant.credits] == [USER]


def test_a_result_counts_in_the_specialization_it_names() -> None:
    student = Student()
    grant = student.grant(result(1, specialization="COACH"))
    assert xp(grant) == [("TOURNAMENT_REWARD", "COACH", 500, "tournament_227_xp_5")]
    assert student.state.progress == {"COACH": Progress(1, 500)}
    assert student.state.licenses.keys() == {"COACH"}


def test_a_tournament_does_not_count_as_a_session() -> None:
    student = Student()
    assert student.grant(result(1)).source_after.counted is None
    assert student.state.progress["PLAYER"].sessions == 0


def test_a_level_that_a_result_reaches_leaves_a_progression() -> None:
    student = Student()
    assert moves(student.grant(result(1))) == [("PLAYER", 1, 2)]
    assert moves(student.grant(result(1, tournament=228))) == []
    assert moves(student.grant(result(1, tournament=229))) == [("PLAYER", 2, 3)]


def test_a_skill_named_twice_is_rewarded_once() -> None:
    grant = Student().grant(result(1, skills=(*skills("passing"), *skills(passing=90.0))))
    assert skill_points(grant) == [("TOURNAMENT", "passing", 10)]


def test_a_result_without_skills_rewards_none() -> None:
    assert Student().grant(result(1)).skills == ()


def test_the_first_event_of_a_tournament_writes_base_types_and_keys_whatever_its_revision() -> None:
    grant = Student().grant(result(1, revision=3, skills=skills("passing")))
    assert (grant.event_key, grant.corrects) == ("tournament_227_result_5", None)
    assert xp(grant) == [("TOURNAMENT_REWARD", "PLAYER", 500, "tournament_227_xp_5")]
    assert credits(grant) == [("TOURNAMENT_REWARD", 100, "tournament_227_reward_5")]
    assert skill_points(grant) == [("TOURNAMENT", "passing", 10)]
    assert grant.source_after.revision == 3


def test_a_withdrawal_as_the_first_event_is_recorded_and_gives_nothing() -> None:
    student = Student()
    event = result(1, status="withdrawn", skills=skills("passing"), specialization="COACH")
    grant = student.grant(event)
    assert (grant.xp, grant.credits, grant.skills, grant.badge, grant.level_changes) == ((), (), (), None, ())
    assert grant.source_after == Source(1, payload_hash(event), RULES.hash, "COACH")
    assert student.ratings("COACH") == {}


def test_the_source_remembers_what_was_given_and_by_which_ruleset() -> None:
    event = result(2, skills=skills("passing", "speed"), occurred_at=day(3))
    assert Student().grant(event).source_after == Source(
        revision=1,
        payload_hash=payload_hash(event),
        ruleset=RULES.hash,
        specialization="PLAYER",
        xp_given={"PLAYER": 300},
        credits_given=60,
        skills_given={"passing": 7, "speed": 7},
        badges=frozenset({"RUNNER_UP"}),
    )


def test_the_numbers_are_the_rulesets_that_is_given() -> None:
    content = to_canonical_json(RULES.content).replace('"xp":500', '"xp":7').replace('"start":50.0', '"start":0')
    generous = from_canonical_json(content.replace('"credits":100', '"credits":0').replace("CHAMPION", "GOLD"))
    student = Student(ruleset=generous)
    grant = student.grant(result(1, skills=skills(passing=100.0)))
    assert xp(grant) == [("TOURNAMENT_REWARD", "PLAYER", 7, "tournament_227_xp_5")]
    assert (grant.credits, grant.badge) == ((), "GOLD")
    assert grant.source_after.ruleset == generous.hash != RULES.hash
    assert student.ratings() == {"passing": (20.0, 1)}


def test_what_earns_nothing_writes_no_entry() -> None:
    content = to_canonical_json(RULES.content).replace('"skill_points":1,"xp":50', '"skill_points":0,"xp":0')
    student = Student(ruleset=from_canonical_json(content))
    grant = student.grant(result(9, skills=skills("passing")))
    assert (grant.xp, grant.credits, grant.skills) == ((), (), ())
    assert grant.source_after.xp_given == grant.source_after.skills_given == {}
    assert student.ratings()["passing"][1] == 1
