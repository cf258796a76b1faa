"""Skill ratings, from scratch out of all of a user's results."""

from collections.abc import Mapping
from typing import Any

from ops.oracle.rules import Rules, target
from ops.oracle.state import Source

Ratings = dict[str, tuple[float, int]]
"""Skill -> rating and number of results."""


def ratings(
    tournaments: Mapping[int, Source],
    rulesets: Mapping[str, Rules],
    active: str,
    adopted: Mapping[str, Ratings] | None = None,
) -> dict[str, Ratings]:
    """A user's ratings per specialization, out of their tournaments; `adopted` are the ones that licenses came with.

    Each result counts as the ruleset has it that stands for its tournament.
    """
    found: dict[str, Ratings] = {name: dict(skills) for name, skills in (adopted or {}).items()}
    results: list[tuple[int, int, tuple[Any, ...], Rules]] = []
    for tournament, source in tournaments.items():
        row = source.row
        if row is not None and row[4] and not source.adopted and not source.withdrawn:
            results.append((row[5], tournament, row, rulesets[source.ruleset or active]))
    results.sort(key=lambda result: result[:2])
    for _, _, (_, placement, participants, specialization, skills, _), rules in results:
        rated = found.setdefault(specialization, {})
        for name, performance in dict(reversed(skills)).items():
            rating, count = rated.get(name, (rules.rating_start, 0))
            aim = target(performance, placement, participants)
            rated[name] = (round(rating + rules.rating_weight * (aim - rating), rules.rating_digits), count + 1)
    return found
