"""What the academy's own file does not hold, and another academy's may."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from sinks.migration import migrate_to, migrate_to_head
from tests.database.catalog import engine_on, rows, table_names
from tests.services.databases import cloned, execute
from tests.services.run import Service

ODD = """
UPDATE semesters SET tournament_status = 'CANCELLED' WHERE id = 201;
INSERT INTO tournament_badges (id, user_id, semester_id, badge_type, earned_at)
    VALUES (901, 117, 201, 'FAIR_PLAY', '2026-01-05T00:00:00Z');
INSERT INTO xp_transactions (id, user_id, transaction_type, amount, description, semester_id, created_at)
    VALUES (901, 120, 'SESSION_ATTENDANCE', 20, 'Session 12345', NULL, '2026-03-01T00:00:00Z'),
           (902, 120, 'SESSION_ATTENDANCE', 20, 'Session 12345 again', NULL, '2026-02-01T00:00:00Z'),
           (903, 120, 'GIFT', 5, 'Sessions are fun', NULL, '2026-03-01T00:00:00Z'),
           (904, 120, 'GIFT', 5, 'for Session 12345', 201, '2026-03-01T00:00:00Z'),
           (905, 120, 'TOURNAMENT_REWARD', 5, 'Session 12345x', NULL, '2026-03-01T00:00:00Z');
INSERT INTO user_licenses (id, user_id, specialization_type, current_level, max_achieved_level, started_at, football_skills)
    VALUES (901, 120, 'COACH', 2, 2, '2026-01-01T00:00:00Z', '{"passing": 61.5, "speed": {"rating": 40}, "odd": "x"}'),
           (902, 120, 'COACH', 1, 5, '2026-02-01T00:00:00Z', NULL),
           (903, 119, 'COACH', 0, 0, '2026-02-01T00:00:00Z', '[1]');
INSERT INTO license_progressions (id, user_license_id, from_level, to_level, advanced_at)
    VALUES (901, 902, 1, 2, now()), (902, 902, 2, 2, now());
INSERT INTO credit_transactions (id, user_id, user_license_id, transaction_type, amount, description, created_at)
    VALUES (901, NULL, 902, 'SESSION_ATTENDANCE', 2, 'Session 12345', '2026-03-01T00:00:00Z');
INSERT INTO tournament_participations (id, user_id, semester_id, placement, achieved_at)
    VALUES (901, 117, 201, 9, now());
"""


@pytest.fixture(scope="module")
def unadopted_url(postgres: Service) -> Iterator[str]:
    with cloned(postgres, "legacy") as url:
        execute(url, "DELETE FROM user_licenses WHERE user_id IN (119, 120) AND specialization_type = 'COACH'")
        execute(url, ODD)
        yield url


@pytest.fixture(scope="module")
def before(unadopted_url: str) -> dict[str, list[dict[str, Any]]]:
    with engine_on(unadopted_url).connect() as connection:
        return rows(connection, table_names(connection))


@pytest.fixture(scope="module")
def odd_url(unadopted_url: str, before: dict[str, list[dict[str, Any]]]) -> str:
    """Adopted, after it was looked at."""
    assert before
    migrate_to_head(unadopted_url)
    return unadopted_url


def _fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    with engine_on(url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_session_is_said_only_at_the_start_of_a_description(odd_url: str) -> None:
    assert _fetch(odd_url, "SELECT id, idempotency_key FROM xp_transactions WHERE id > 900 ORDER BY id") == [
        (901, "session_12345_xp_120"),
        (902, "session_attendance_0_120_xp_902"),
        (903, "gift_0_120_xp_903"),
        (904, "gift_201_120_xp_904"),
        (905, "tournament_reward_0_120_xp_905"),
    ]


def test_rows_with_one_canonical_key_all_count_as_given(odd_url: str) -> None:
    ((grant, at),) = _fetch(
        odd_url,
        """SELECT "grant", occurred_at::text FROM reward_receipts WHERE event_key = 'session_12345_presence_120'""",
    )
    assert grant == {
        "xp": [["SESSION_ATTENDANCE", "PLAYER", 20], ["SESSION_ATTENDANCE", "PLAYER", 20]],
        "credits": [["SESSION_ATTENDANCE", 2]],
    }
    assert at.startswith("2026-02-01 00:00:00")
    assert _fetch(odd_url, "SELECT user_id, idempotency_key FROM credit_transactions WHERE id = 901") == [
        (120, "session_12345_attendance_120")
    ]


def test_several_badges_of_one_tournament_are_all_given(odd_url: str) -> None:
    ((grant,),) = _fetch(
        odd_url, """SELECT "grant" FROM reward_receipts WHERE event_key = 'tournament_201_result_117'"""
    )
    assert grant["badges"] == ["CHAMPION", "FAIR_PLAY"]
    assert "badge" not in grant


def test_a_second_license_hands_over_what_named_it(odd_url: str) -> None:
    assert _fetch(odd_url, "SELECT id FROM user_licenses WHERE user_id = 120 AND specialization_type = 'COACH'") == [
        (901,)
    ]
    assert _fetch(odd_url, "SELECT user_license_id FROM license_progressions WHERE id > 900") == [(901,)]
    assert _fetch(odd_url, "SELECT user_license_id FROM credit_transactions WHERE id = 901") == [(901,)]


def test_ratings_get_the_one_form_and_a_level_below_one_is_raised(odd_url: str) -> None:
    found = _fetch(
        odd_url,
        "SELECT football_skills, adopted_skills, current_level, max_achieved_level FROM user_licenses WHERE id > 900 ORDER BY id",
    )
    ratings = {"passing": {"rating": 61.5, "results": 0}, "speed": {"rating": 40, "results": 0}}
    assert found == [(ratings, ratings, 2, 2), ({}, {}, 1, 1)]


def test_an_unknown_tournament_status_becomes_none(odd_url: str) -> None:
    assert _fetch(odd_url, "SELECT tournament_status FROM semesters WHERE id = 201") == [(None,)]
    kept = _fetch(
        odd_url, "SELECT row ->> 'tournament_status' FROM migration_removed_rows WHERE table_name = 'semesters'"
    )
    assert kept == [("CANCELLED",)]


def test_the_first_of_two_participations_stays(odd_url: str) -> None:
    query = "SELECT placement FROM tournament_participations WHERE user_id = 117 AND semester_id = 201"
    assert _fetch(odd_url, query) == [(1,)]


def test_everything_comes_back_all_the_way_down(odd_url: str, before: dict[str, list[dict[str, Any]]]) -> None:
    migrate_to(odd_url, "base")
    with engine_on(odd_url).connect() as connection:
        assert rows(connection, list(before)) == before
    migrate_to_head(odd_url)
