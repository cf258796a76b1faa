"""Skill ratings: a moving average over a user's results in one specialization, in the order in which they happened.

A result that comes in order is averaged into what the license holds. Every other change, a late result or a correction,
makes the average anew from the adopted ratings and all results, with the very same steps, so both ways agree to the bit.
Every result is averaged in by the ruleset that decided it, so that both ways agree across rulesets, too.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.events import Skill, TournamentResult
from schemas.rewards import RatedResult, Rating, RatingPoint, UserState
from schemas.ruleset import RatingRule
from streams.rules.levels import NEW_LICENSE, Rated

NEUTRAL_TARGET: Final = 50.0
"""What a result aims at that says neither how well a skill went nor how the placement stands in the field."""

ResultChanges = dict[str, dict[RatingPoint, RatedResult | None]]


def change_results(
    state: UserState, event: TournamentResult, specialization_before: str | None, rule: RatingRule
) -> ResultChanges:
    """The rated results that `event`, decided with `rule`, takes away and adds, by specialization."""
    changes: ResultChanges = {}
    if specialization_before is not None:
        for point in state.results.get(specialization_before, ()):
            if point.tournament_id == event.tournament_id:
                changes[specialization_before] = {point: None}
    if event.status == "final" and event.skills:
        point = RatingPoint(event.occurred_at, event.tournament_id)
        result = RatedResult(event.placement, event.participants, event.skills, rule)
        changes.setdefault(event.specialization, {})[point] = result
    return changes


def rate(state: UserState, changes: ResultChanges) -> dict[str, Rated]:
    """The ratings of every specialization in `changes`, after them."""
    rated = {}
    for specialization, changed in changes.items():
        license_ = state.licenses.get(specialization) or NEW_LICENSE
        results = state.results.get(specialization)
        if results is None:
            rated[specialization] = _average(license_.skills, license_.rated_to, changed)
        else:
            rated[specialization] = _average(license_.adopted_skills, None, {**results, **changed})
    return rated


def _average(
    baseline: Mapping[str, Rating],
    rated_to: RatingPoint | None,
    results: Mapping[RatingPoint, RatedResult | None],
) -> Rated:
    """The ratings that come of `baseline`, which holds all up to `rated_to`, and the results after it."""
    skills = dict(baseline)
    for point in sorted(results):
        result = results[point]
        if result is not None and result.skills:
            _average_in(skills, result)
            rated_to = point
    return Rated(skills, rated_to)


def _average_in(skills: dict[str, Rating], result: RatedResult) -> None:
    rule = result.rule
    standing = _standing(result.placement, result.participants)
    for skill in _distinct(result.skills):
        before = skills.get(skill.name)
        rating, results = (rule.start, 0) if before is None else (before.rating, before.results)
        target = standing if skill.performance is None else skill.performance
        skills[skill.name] = Rating(round(rating + rule.weight * (target - rating), rule.digits), results + 1)


def _standing(placement: int | None, participants: int | None) -> float:
    """How much of the field the placement leaves behind, out of 100."""
    if placement is None or participants is None or participants <= 1:
        return NEUTRAL_TARGET
    return 100 * (participants - placement) / (participants - 1)


def _distinct(skills: tuple[Skill, ...]) -> Iterable[Skill]:
    """Each skill as it is named first."""
    first: dict[str, Skill] = {}
    for skill in skills:
        first.setdefault(skill.name, skill)
    return first.values()
