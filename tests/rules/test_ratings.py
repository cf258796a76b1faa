from itertools import permutations
from typing import Any

import pytest
from msgspec import structs

from schemas.events import TournamentResult
from schemas.rewards import License, Rating, RatingPoint, UserState
from schemas.ruleset import from_canonical_json, to_canonical_json
from streams.rules import results_needed
from tests.rules.academy import LEVELS, RULES, USER, Student, attendance, day, result, skills

TARGETS = [
    # placement, participants, performance, rating after one result: 50 + 0.2 * (target - 50)
    (1, 16, None, 60.0),
    (16, 16, None, 40.0),
    (2, 4, None, 53.3333),
    (3, 8, None, 54.2857),
    (1, 2, None, 60.0),
    (2, 2, None, 40.0),
    (1, 1, None, 50.0),
    (1, None, None, 50.0),
    (None, 16, None, 50.0),
    (None, None, None, 50.0),
    (1, 16, 0.0, 40.0),
    (16, 16, 100.0, 60.0),
    (16, 16, 61.5, 52.3),
    (None, None, 33.333, 46.6666),
]


@pytest.mark.parametrize(("placement", "participants", "performance", "rating"), TARGETS)
def test_a_result_moves_a_rating_a_fifth_of_the_way_to_its_target(
    placement: int | None, participants: int | None, performance: float | None, rating: float
) -> None:
    student = Student()
    named = skills("passing") if performance is None else skills(passing=performance)
    student.grant(result(placement, participants=participants, skills=named))
    assert student.ratings() == {"passing": (rating, 1)}
    assert student.state.licenses["PLAYER"].rated_to == RatingPoint(day(0), 227)


def test_only_the_skills_that_a_result_names_are_rated() -> None:
    student = Student()
    student.deliver(
        result(1, tournament=1, skills=skills(passing=100.0)),
        result(1, tournament=2, occurred_at=day(1), skills=skills(passing=100.0, speed=0.0)),
        result(1, tournament=3, occurred_at=day(2)),
    )
    assert student.ratings() == {"passing": (68.0, 2), "speed": (40.0, 1)}
    assert student.state.licenses["PLAYER"].rated_to == RatingPoint(day(1), 2)


def test_a_skill_named_twice_is_rated_once_by_what_is_said_first() -> None:
    student = Student()
    student.deliver(result(1, skills=(*skills(passing=100.0), *skills(passing=0.0))))
    assert student.ratings() == {"passing": (60.0, 1)}


def test_the_first_mention_counts_even_where_it_gives_no_performance() -> None:
    student = Student()
    student.deliver(result(16, participants=16, skills=(*skills("passing"), *skills(passing=100.0))))
    assert student.ratings() == {"passing": (40.0, 1)}


def test_each_specialization_has_ratings_of_its_own() -> None:
    student = Student()
    student.deliver(
        result(1, tournament=1, skills=skills(passing=100.0)),
        result(1, tournament=2, specialization="COACH", skills=skills(passing=0.0)),
    )
    assert (student.ratings("PLAYER"), student.ratings("COACH")) == ({"passing": (60.0, 1)}, {"passing": (40.0, 1)})


SEASON = [
    result(1, tournament=9, occurred_at=day(1), skills=skills(passing=91.7)),
    result(2, tournament=8, occurred_at=day(2), participants=7, skills=skills("passing", speed=3.3)),
    result(5, tournament=3, occurred_at=day(2), participants=7, skills=skills("passing")),
    result(5, tournament=4, occurred_at=day(3), skills=skills(speed=77.0)),
]


@pytest.mark.parametrize("together", [False, True], ids=["in batches of their own", "in one batch"])
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_late_results_give_the_ratings_that_results_in_order_give(order: tuple[int, ...], *, together: bool) -> None:
    in_order, late = Student(), Student()
    in_order.deliver(*sorted(SEASON, key=lambda event: (event.occurred_at, event.tournament_id)))
    events = [SEASON[index] for index in order]
    if together:
        late.deliver_together(*events)
    else:
        late.deliver(*events)
    assert late.state.licenses == in_order.state.licenses
    assert late.ratings()["passing"][1] == 3


FASTER = from_canonical_json(
    to_canonical_json(
        structs.replace(RULES.content, rating=structs.replace(RULES.content.rating, weight=0.5, start=20))
    )
)


def test_a_result_is_averaged_in_by_the_ruleset_that_decided_it() -> None:
    student = Student()
    student.deliver(result(1, tournament=1, skills=skills(passing=100.0)))
    student.decide_by(FASTER)
    student.deliver(result(1, tournament=2, occurred_at=day(1), skills=skills(passing=0.0, speed=100.0)))
    assert student.ratings() == {"passing": (30.0, 2), "speed": (60.0, 1)}
    # A correction is decided by its source's own ruleset, and what came after it stays as its own has it.
    student.deliver(result(1, tournament=1, revision=2, skills=skills(passing=0.0)))
    assert student.ratings() == {"passing": (20.0, 2), "speed": (60.0, 1)}


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_late_results_give_the_same_across_rulesets(order: tuple[int, ...]) -> None:
    by = [RULES, FASTER, RULES, FASTER]
    in_order, late = Student(), Student()
    for student, indices in (
        (in_order, sorted(order, key=lambda n: (SEASON[n].occurred_at, SEASON[n].tournament_id))),
        (late, order),
    ):
        for index in indices:
            student.decide_by(by[index])
            student.deliver(SEASON[index])
    assert late.ratings() == in_order.ratings()


CORRECTED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # name, the correction of tournament 1 (which comes first in time), PLAYER's ratings and COACH's after it
    ("another performance", {"skills": skills(passing=0.0)}, {"passing": (52.0, 2)}, {}),
    ("another skill", {"skills": skills(speed=100.0)}, {"passing": (60.0, 1), "speed": (60.0, 1)}, {}),
    ("no skill", {"skills": ()}, {"passing": (60.0, 1)}, {}),
    ("withdrawn", {"status": "withdrawn"}, {"passing": (60.0, 1)}, {}),
    ("withdrawn elsewhere", {"status": "withdrawn", "specialization": "COACH"}, {"passing": (60.0, 1)}, {}),
    ("moved", {"specialization": "COACH", "skills": skills(passing=50.0)}, {"passing": (60.0, 1)}, {"passing": (50.0, 1)}),
    ("moved later in time", {"occurred_at": day(9), "skills": skills(passing=0.0)}, {"passing": (48.0, 2)}, {}),
    ("only dated later", {"occurred_at": day(9), "skills": skills(passing=100.0)}, {"passing": (68.0, 2)}, {}),
]  # fmt: skip


@pytest.mark.parametrize("together", [False, True], ids=["in batches of their own", "in one batch"])
@pytest.mark.parametrize(
    ("fields", "player", "coach"), [row[1:] for row in CORRECTED], ids=[row[0] for row in CORRECTED]
)
def test_a_correction_rates_as_if_it_had_come_first(
    fields: dict[str, Any], player: dict[str, Any], coach: dict[str, Any], *, together: bool
) -> None:
    student = Student()
    events: list[TournamentResult] = [
        result(1, tournament=1, skills=skills(passing=100.0)),
        result(1, tournament=2, occurred_at=day(1), skills=skills(passing=100.0)),
        result(1, tournament=1, revision=2, **fields),
    ]
    if together:
        student.deliver_together(*events)
    else:
        student.deliver(*events)
    assert student.ratings() == player
    assert "COACH" not in student.state.licenses or student.ratings("COACH") == coach
    assert ("COACH" in student.state.licenses) == (fields.get("specialization") == "COACH")


def test_the_only_result_withdrawn_leaves_no_rating_and_final_again_brings_it_back() -> None:
    student = Student()
    student.deliver(result(1, skills=skills(passing=100.0)), result(1, revision=2, status="withdrawn"))
    assert student.ratings() == {}
    assert student.state.licenses["PLAYER"].rated_to is None
    student.deliver(result(1, revision=3, skills=skills(passing=0.0)))
    assert student.ratings() == {"passing": (40.0, 1)}


def adopted() -> Student:
    came_with = {"passing": Rating(70.0, 12), "speed": Rating(30.0, 4)}
    return Student(UserState(USER, LEVELS, licenses={"PLAYER": License(1, 1, came_with, came_with)}))


def test_an_adopted_rating_is_where_later_results_continue() -> None:
    student = adopted()
    student.deliver(result(1, tournament=2, occurred_at=day(2), skills=skills(passing=100.0, vision=100.0)))
    assert student.ratings() == {"passing": (76.0, 13), "speed": (30.0, 4), "vision": (60.0, 1)}


def test_a_late_result_recomputes_from_the_adopted_ratings() -> None:
    student = adopted()
    student.deliver(
        result(1, tournament=2, occurred_at=day(2), skills=skills(passing=100.0)),
        result(1, tournament=1, occurred_at=day(1), skills=skills(passing=0.0)),
    )
    assert student.ratings() == {"passing": (64.8, 14), "speed": (30.0, 4)}


NEEDS: list[tuple[str, list[TournamentResult], set[str]]] = [
    ("nothing", [], set()),
    ("a first result", [result(1, tournament=2, skills=skills("passing"))], set()),
    ("results in order", [result(1, tournament=number, skills=skills("passing")) for number in (1, 2, 3)], set()),
    ("results out of order", [result(1, tournament=number, skills=skills("passing")) for number in (2, 1)], {"PLAYER"}),
    ("a late result that names no skill", [result(1, tournament=2, skills=skills("passing")), result(1, tournament=1)],
     set()),
    ("a late result elsewhere", [result(1, tournament=2, skills=skills("passing")),
                                 result(1, tournament=1, skills=skills("passing"), specialization="COACH")], set()),
    ("the same event twice", [result(1, skills=skills("passing")), result(1, skills=skills("passing"))], set()),
    ("a correction of what is new in the batch",
     [result(1, skills=skills("passing")), result(1, revision=2, specialization="COACH", skills=skills("passing"))],
     {"PLAYER", "COACH"}),
    ("a withdrawal of what is new in the batch",
     [result(1, specialization="COACH", skills=skills("passing")), result(1, revision=2, status="withdrawn")], {"COACH"}),
]  # fmt: skip


@pytest.mark.parametrize(("events", "needed"), [row[1:] for row in NEEDS], ids=[row[0] for row in NEEDS])
def test_a_batch_for_an_unknown_user_needs_only_what_its_order_disturbs(
    events: list[TournamentResult], needed: set[str]
) -> None:
    assert results_needed(UserState(USER, LEVELS), events) == needed


RECORDED_NEEDS: list[tuple[str, TournamentResult, set[str]]] = [
    ("the next result", result(1, tournament=228, skills=skills("passing")), set()),
    ("a later result", result(1, tournament=1, occurred_at=day(1), skills=skills("passing")), set()),
    ("a result at the same moment, of a lower tournament", result(1, tournament=226, skills=skills("passing")), {"PLAYER"}),
    ("an earlier result", result(1, tournament=228, occurred_at=day(-1), skills=skills("passing")), {"PLAYER"}),
    ("an earlier result in a new specialization",
     result(1, tournament=228, occurred_at=day(-1), specialization="COACH", skills=skills("passing")), set()),
    ("a redelivery", result(1, skills=skills("passing")), set()),
    ("a correction", result(2, revision=2, skills=skills("passing")), {"PLAYER"}),
    ("a correction that moves", result(1, revision=2, specialization="COACH", skills=skills("passing")),
     {"PLAYER", "COACH"}),
    ("a withdrawal", result(1, revision=2, status="withdrawn", specialization="COACH"), {"PLAYER"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "needed"), [row[1:] for row in RECORDED_NEEDS], ids=[row[0] for row in RECORDED_NEEDS]
)
def test_a_batch_for_a_rated_user_needs_the_results_that_it_may_disturb(
    event: TournamentResult, needed: set[str]
) -> None:
    student = Student()
    student.deliver(result(1, skills=skills("passing")))
    assert results_needed(student.state, [event]) == needed


def test_attendance_changes_no_rating() -> None:
    student = Student()
    student.deliver(result(1, skills=skills(passing=100.0)), attendance(skills=skills(passing=0.0)))
    assert student.ratings() == {"passing": (60.0, 1)}


def test_a_result_that_earns_no_xp_leaves_the_rating_it_moves_away_from() -> None:
    content = to_canonical_json(RULES.content).replace('"skill_points":1,"xp":50', '"skill_points":1,"xp":0')
    student = Student(ruleset=from_canonical_json(content))
    student.deliver(result(9, skills=skills(passing=100.0)))
    student.deliver(result(9, revision=2, specialization="COACH", skills=skills(passing=100.0)))
    assert (student.ratings("PLAYER"), student.ratings("COACH")) == ({}, {"passing": (60.0, 1)})
