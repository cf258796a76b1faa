"""What an academy's database came with, and the events that come for it afterwards."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from sinks.migration import migrate_to_head
from tests.oracle.academy_log import Academy, presence, result

ADOPTED_RESULTS = """
SELECT user_id, split_part(event_key, '_', 2)::bigint FROM reward_receipts
 WHERE event_key LIKE 'tournament%' AND origin = 'adopted' ORDER BY seq LIMIT 2
"""
LATE, LATER = "2019-03-01T10:00:00Z", "2019-04-01T10:00:00Z"


@pytest.fixture
def academy(legacy_url: str) -> Iterator[Academy]:
    migrate_to_head(legacy_url)
    with closing(Academy(legacy_url)) as academy:
        yield academy


def test_a_correction_of_an_adopted_result_counts_when_ratings_are_made_anew(academy: Academy) -> None:
    (user, tournament), _ = academy.query(ADOPTED_RESULTS)
    passing = {"participants": 10, "skills": [{"name": "passing", "performance": 90}]}
    academy.tell(TOURNAMENT_RESULTS, result(user, tournament, 1, revision=2, occurred_at=LATER, **passing))
    # Before the one that is there: the average is made anew from what is recorded.
    academy.tell(TOURNAMENT_RESULTS, result(user, 900_001, 10, occurred_at=LATE, **passing))
    adopted = f"SELECT adopted FROM tournament_participations WHERE user_id = {user} AND semester_id = {tournament}"
    assert academy.query(adopted) == [(False,)]
    rated = f"SELECT football_skills -> 'passing' ->> 'results' FROM user_licenses WHERE user_id = {user}"
    before = rated.replace("football_skills", "adopted_skills")
    ((now,), (then,)) = academy.query(f"{rated} AND specialization_type = 'PLAYER'") + academy.query(
        f"{before} AND specialization_type = 'PLAYER'"
    )
    assert int(now) == int(then or 0) + 2
    assert academy.verify().differences == []


def test_the_first_event_of_an_adopted_source_is_told_from_a_redelivery(academy: Academy) -> None:
    _, (user, tournament) = academy.query(ADOPTED_RESULTS)
    for _ in range(2):
        academy.tell(SESSION_ATTENDANCE, presence(user, 900_002))
    remembered = (
        f"SELECT payload_hash IS NULL FROM reward_receipts WHERE event_key = 'tournament_{tournament}_result_{user}'"
    )
    assert academy.query(remembered) == [(True,)]
    academy.tell(TOURNAMENT_RESULTS, result(user, tournament, 1))
    assert academy.query(remembered) == [(False,)]
    assert academy.verify().differences == []
