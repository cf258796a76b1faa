"""A result is rated by the ruleset that decided it: rules, oracle and invariant agree where rulesets rate differently."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from msgspec import structs

from schemas.events import TOURNAMENT_RESULTS
from schemas.ruleset import from_canonical_json, load_default, to_canonical_json
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from sinks.ruleset_store import publish_ruleset
from streams import rules
from streams.reconciliation import sweep
from tests.oracle.academy_log import GROUP, OWNER, Academy, result
from tests.reconciliation.season import GRACE, run

CONTENT = load_default().content
FASTER = from_canonical_json(
    to_canonical_json(structs.replace(CONTENT, rating=structs.replace(CONTENT.rating, weight=0.5, start=20)))
)


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(Academy(database_url)) as academy:
        yield academy


def rated(user_id: int, tournament_id: int, performance: float, **more: Any) -> dict[str, Any]:
    """A result that dates from the day of its tournament's number."""
    at = f"2026-02-{tournament_id:02}T10:00:00Z"
    skills = [{"name": "passing", "performance": performance}]
    return result(user_id, tournament_id, 1, skills=skills, occurred_at=at, **more)


def publish(academy: Academy) -> None:
    """Make the other ruleset the active one, for a ledger that has not asked yet which one is."""
    with closing(psycopg2.connect(academy.url)) as connection, connection, connection.cursor() as cursor:
        publish_ruleset(cursor, FASTER, "somebody")
    academy.close()
    academy.ledger = Ledger(connector(academy.url, name="test"), rules, Identity(GROUP, OWNER))


def passing(academy: Academy, user_id: int) -> object:
    return run(
        academy.url, f"SELECT football_skills -> 'passing' ->> 'rating' FROM user_licenses WHERE user_id = {user_id}"
    )[0][0]


def test_results_in_order_late_and_corrected_are_each_rated_by_their_own_ruleset(academy: Academy) -> None:
    academy.tell(TOURNAMENT_RESULTS, *(rated(user, 10, 100) for user in (1, 2, 3, 4)))
    publish(academy)
    academy.tell(TOURNAMENT_RESULTS, *(rated(user, 12, 0) for user in (1, 2, 3)))
    academy.tell(TOURNAMENT_RESULTS, rated(2, 11, 80), rated(3, 10, 0, revision=2), rated(5, 12, 100))
    # 50 to 60 by a fifth, then halfway to each: 0; 80 and 0. A corrected result keeps its ruleset: 50 to 40. A new start.
    assert [float(str(passing(academy, user))) for user in (1, 2, 3, 4, 5)] == [30.0, 35.0, 20.0, 60.0, 60.0]
    assert sweep(lambda: psycopg2.connect(academy.url), GRACE).violations == []
    assert academy.verify().differences == []


def test_a_rating_by_the_wrong_ruleset_is_found_by_both(academy: Academy) -> None:
    academy.tell(TOURNAMENT_RESULTS, rated(1, 10, 100))
    publish(academy)
    academy.tell(TOURNAMENT_RESULTS, rated(1, 12, 0))
    run(academy.url, 'UPDATE user_licenses SET football_skills = \'{"passing": {"rating": 30.1, "results": 2}}\'')
    (seen,) = sweep(lambda: psycopg2.connect(academy.url), GRACE).violations
    assert (seen.kind, seen.expected, seen.found) == ("INV-R06", "PLAYER: passing 30.0 of 2", "passing 30.1 of 2")
    (difference,) = academy.verify().differences
    assert difference.table == "user_licenses"
