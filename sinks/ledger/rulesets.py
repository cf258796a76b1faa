"""Reads what decisions rest on: the active ruleset, the rulesets that receipts name, and the levels."""

from collections.abc import Collection
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.errors import MustStop
from schemas.rewards import Levels
from schemas.ruleset import RatingRule, Ruleset, from_canonical_json

FETCH_ACTIVE = "SELECT hash, content FROM rulesets WHERE active"
FETCH_NAMED = "SELECT hash, content FROM rulesets WHERE hash = ANY(%s)"
FETCH_ALL = "SELECT hash, content, active FROM rulesets"
FETCH_LEVELS = """
SELECT specialization_id, array_agg(xp_needed ORDER BY level)
FROM specialization_levels JOIN specializations ON specializations.id = specialization_id
WHERE level <= max_levels
GROUP BY specialization_id
"""


def fetch_active_ruleset(cursor: Cursor) -> Ruleset:
    """The ruleset that decides what has no older one pinned."""
    cursor.execute(FETCH_ACTIVE)
    rows: list[tuple[str, str]] = cursor.fetchall()
    if not rows:
        message = "no ruleset is active: run `laurels migrate`, or publish one with `laurels rules publish`"
        raise MustStop(message)
    return from_canonical_json(rows[0][1])


def fetch_rulesets(cursor: Cursor, hashes: Collection[str]) -> dict[str, Ruleset]:
    """The rulesets named by their hashes; a receipt's ruleset that is gone is nothing to guess at."""
    cursor.execute(FETCH_NAMED, (list(hashes),))
    found = {hash_: from_canonical_json(content) for hash_, content in cursor.fetchall()}
    missing = set(hashes) - found.keys()
    if missing:
        message = f"receipts name rulesets that the table rulesets does not have: {', '.join(sorted(missing))}"
        raise MustStop(message)
    return found


class RatingRules(NamedTuple):
    """How each ruleset rates results, by its hash; what no ruleset is known of is rated by the active one."""

    named: dict[str, RatingRule]
    active: RatingRule

    @property
    def differ(self) -> bool:
        """Whether it matters which ruleset decided a result."""
        return any(rule != self.active for rule in self.named.values())

    def of(self, ruleset: str | None) -> RatingRule:
        """How the ruleset rates."""
        return self.active if ruleset is None else self.named[ruleset]


def fetch_rating_rules(cursor: Cursor) -> RatingRules:
    """How every ruleset there is rates results."""
    cursor.execute(FETCH_ALL)
    rows: list[tuple[str, str, bool]] = cursor.fetchall()
    named = {hash_: from_canonical_json(content).content.rating for hash_, content, _ in rows}
    return RatingRules(named, next(named[hash_] for hash_, _, active in rows if active))


def fetch_levels(cursor: Cursor) -> Levels:
    """XP needed for each level of each specialization."""
    cursor.execute(FETCH_LEVELS)
    levels: dict[str, Any] = {name: tuple(needs) for name, needs in cursor.fetchall()}
    return levels
