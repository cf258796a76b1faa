"""Events that stand, decided again by another ruleset."""

from typing import Any

import pytest
from msgspec import structs

from schemas.events import SessionAttendance, TournamentResult
from schemas.payload import payload_hash
from schemas.rewards import Adjustment, Grant
from schemas.ruleset import Ruleset, from_canonical_json, to_canonical_json
from streams.rules import adjust, base_key
from tests.rules.academy import RULES, Student, attendance, credits, day, moves, result, skill_points, skills, xp

RUN = "5b0c2d9e"
BANDS = RULES.content.tournament
PRESENT = RULES.content.attendance["present"]


def changed(**fields: Any) -> Ruleset:
    """The academy's ruleset with some of its content replaced."""
    return from_canonical_json(to_canonical_json(structs.replace(RULES.content, **fields)))


def first_place(**fields: Any) -> Ruleset:
    return changed(tournament=(structs.replace(BANDS[0], **fields), *BANDS[1:]))


def present(**fields: Any) -> Ruleset:
    statuses = RULES.content.attendance
    return changed(attendance={**statuses, "present": structs.replace(PRESENT, **fields)})


def adjusted(
    student: Student, event: TournamentResult | SessionAttendance, after: Ruleset, *, before: Ruleset = RULES
) -> Grant:
    """Adjust what `event` gave, and keep it."""
    student.know(after)
    grant = adjust(student.state, event, payload_hash(event), Adjustment(RUN, before, after))
    student.state.advance(grant, base_key(event))
    return grant


def test_more_is_posted_under_the_run() -> None:
    student, event = Student(), result(1, skills=skills("passing"))
    student.deliver(event)
    grant = adjusted(student, event, first_place(xp=1500, credits=150, skill_points=12))
    assert (grant.event_key, grant.corrects) == ("tournament_227_result_5_a5b0c2d9e", "tournament_227_result_5")
    assert xp(grant) == [("TOURNAMENT_REWARD_A5B0C2D9E", "PLAYER", 1000, "tournament_227_xp_5_a5b0c2d9e")]
    assert credits(grant) == [("TOURNAMENT_REWARD_A5B0C2D9E", 50, "tournament_227_reward_5_a5b0c2d9e")]
    assert skill_points(grant) == [("TOURNAMENT_A5B0C2D9E", "passing", 2)]
    assert moves(grant) == [("PLAYER", 2, 3)]
    assert grant.source_after.revision == 1


def test_less_is_posted_too_and_takes_a_level_back() -> None:
    student, event = Student(), result(1)
    student.deliver(event)
    grant = adjusted(student, event, first_place(xp=400, credits=0))
    assert (xp(grant)[0][2], credits(grant)[0][1], moves(grant)) == (-100, -100, [("PLAYER", 2, 1)])


def test_a_correction_is_adjusted_against_all_that_its_source_gave() -> None:
    student, correction = Student(), result(1, revision=2)
    student.deliver(result(3), correction)
    grant = adjusted(student, correction, first_place(xp=600))
    assert xp(grant) == [("TOURNAMENT_REWARD_A5B0C2D9E", "PLAYER", 100, "tournament_227_xp_5_a5b0c2d9e")]
    assert grant.source_after.revision == 2


def test_a_withdrawn_result_gives_nothing_by_any_ruleset() -> None:
    student, withdrawal = Student(), result(1, revision=2, status="withdrawn")
    student.deliver(result(1), withdrawal)
    grant = adjusted(student, withdrawal, first_place(xp=600))
    assert (grant.xp, grant.credits, grant.badge) == ((), (), None)


def test_a_correction_after_it_is_against_what_stands() -> None:
    student, event, generous = Student(), result(1), first_place(xp=600)
    student.deliver(event)
    adjusted(student, event, generous)
    student.decide_by(generous)
    assert xp(student.grant(result(2, revision=2))) == [
        ("TOURNAMENT_REWARD_R2", "PLAYER", -300, "tournament_227_xp_5_r2")
    ]


def test_back_again_takes_exactly_that_back() -> None:
    student, event, generous = Student(), result(1), first_place(xp=600, badge="WINNER")
    student.deliver(event)
    before = student.state.sources[base_key(event)]
    there = adjusted(student, event, generous)
    assert (there.badge, there.revoked_badges) == ("WINNER", ("CHAMPION",))
    back = adjusted(student, event, RULES, before=generous)
    assert (back.badge, back.revoked_badges, xp(back)[0][2]) == ("CHAMPION", ("WINNER",), -100)
    assert student.state.sources[base_key(event)] == before


def test_ratings_stay_unless_the_rulesets_rate_differently() -> None:
    student = Student()
    events = [result(place, tournament=place, participants=4, skills=skills("passing")) for place in (1, 2)]
    student.deliver(*events)
    rated = student.ratings()
    adjusted(student, events[0], first_place(xp=600))
    assert student.ratings() == rated
    faster = changed(rating=structs.replace(RULES.content.rating, weight=0.5))
    fresh = Student(ruleset=faster)
    fresh.deliver(*events)
    for event, expected in zip(events, ({"passing": (73.3333, 2)}, fresh.ratings()), strict=True):
        student.state.results = {"PLAYER": student.rated_results("PLAYER")}
        adjusted(student, event, faster)
        assert student.ratings() == expected != rated


def test_an_attendance_is_counted_as_the_other_ruleset_counts_it() -> None:
    student, event = Student(), attendance(theory_hours=2)
    student.deliver(event)
    grant = adjusted(student, event, present(counts=False, xp=25))
    assert xp(grant) == [("SESSION_ATTENDANCE_A5B0C2D9E", "PLAYER", 5, "session_789_xp_5_a5b0c2d9e")]
    progress = student.state.progress["PLAYER"]
    assert (progress.sessions, progress.theory_hours) == (0, 0)
    assert adjusted(student, event, RULES, before=present(counts=False, xp=25)).source_after.counted is not None
    assert student.state.progress["PLAYER"].sessions == 1


@pytest.mark.parametrize(
    ("bonus", "paid"),
    [({"credits": 80}, []), ({"every_sessions": 5}, [50]), ({"every_sessions": 20}, [])],
)
def test_a_milestone_is_paid_once_whatever_the_ruleset(bonus: dict[str, int], paid: list[int]) -> None:
    student = Student()
    events = [attendance(session=number, occurred_at=day(number)) for number in range(1, 12)]
    student.deliver(*events)
    after = changed(bonus=structs.replace(RULES.content.bonus, **bonus))
    grants = [adjusted(student, event, after) for event in events]
    assert [amount for grant in grants for _, amount, _ in credits(grant)] == paid
