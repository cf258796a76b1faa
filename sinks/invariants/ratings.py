"""Compares licenses' ratings with those that the rules make of the participations."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.events import Skill
from schemas.rewards import License, RatedResult, Rating, RatingPoint
from sinks.ledger.rulesets import RatingRules
from sinks.ledger.states import RESULT_RULESET

# One statement, so that ratings and results are of the same moment. Which ruleset decided a result is asked only where
# rulesets rate differently.
LICENSES: Final = """
SELECT l.user_id, l.specialization_type, l.football_skills::text, l.adopted_skills::text, r.results::text
  FROM user_licenses l
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_array(p.achieved_at, p.semester_id, p.placement, p.participants, p.skills, {ruleset}))
              AS results
         FROM tournament_participations p
        WHERE p.user_id = l.user_id AND p.specialization_id = l.specialization_type
          AND p.status = 'final' AND NOT p.adopted AND p.skills <> '[]') AS r ON true
 WHERE IN_SCOPE(l.user_id) AND (r.results IS NOT NULL OR l.football_skills IS DISTINCT FROM l.adopted_skills)
"""

_Results = list[tuple[datetime, int, int | None, int | None, tuple[Skill, ...], str | None]]
_decode_ratings: Final = msgspec.json.Decoder(dict[str, Rating]).decode
_decode_results: Final = msgspec.json.Decoder(_Results).decode

Recompute = Callable[[License, Mapping[RatingPoint, RatedResult]], Mapping[str, Rating]]
"""The rules' own ratings: of a license and its results."""


def compare_ratings(
    query: Callable[[str], list[tuple[Any, ...]]], rules: RatingRules, recompute: Recompute
) -> Iterator[tuple[int, str, str, None]]:
    """User, expected and found ratings of each license whose ratings are not what its results make."""
    licenses = LICENSES.format(ruleset=RESULT_RULESET if rules.differ else "NULL")
    for user_id, specialization, held, adopted, results in query(licenses):
        try:
            found = _decode_ratings(held) if held else {}
        except msgspec.ValidationError:
            yield user_id, f"{specialization}: ratings with their results", held, None
            continue
        license_ = License(skills=found, adopted_skills=_decode_ratings(adopted) if adopted else {})
        decoded = _decode_results(results) if results else []
        points = {
            RatingPoint(at, tournament): RatedResult(placement, participants, skills, rules.of(ruleset))
            for at, tournament, placement, participants, skills, ruleset in decoded
        }
        expected = recompute(license_, points)
        if dict(expected) != found:
            wrong = sorted({*expected, *found}, key=str)
            apart = [skill for skill in wrong if expected.get(skill) != found.get(skill)]
            yield user_id, f"{specialization}: {_shown(expected, apart)}", _shown(found, apart), None


def _shown(ratings: Mapping[str, Rating], skills: list[str]) -> str:
    return ", ".join(
        f"{skill} {ratings[skill].rating} of {ratings[skill].results}" if skill in ratings else f"{skill} none"
        for skill in skills
    )
