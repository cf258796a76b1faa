"""Every invariant finds what breaks it, is silent where it holds, and its alert resolves once it holds again."""

from contextlib import closing

import psycopg2
import pytest

from streams.reconciliation import ALL, PositionsSeen, sweep
from tests.reconciliation.season import GRACE, USERS, check, firing, run


def test_a_season_with_all_that_happens_in_one_is_silent_and_its_tournament_distributed(season: str) -> None:
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    check(season, *USERS)
    assert swept.violations == []
    assert swept.users == len(USERS)
    assert firing(season) == []
    assert run(season, "SELECT tournament_status FROM semesters WHERE id = 227") == [("REWARDS_DISTRIBUTED",)]


# What plain SQL plants, what mends it, and the invariants that it breaks.
OWNER = "SET session_replication_role = replica"
PLANTED = {
    "INV-R01": (
        "UPDATE users SET xp_balance = xp_balance + 7 WHERE id = 5",
        "UPDATE users SET xp_balance = xp_balance - 7 WHERE id = 5",
    ),
    "INV-R02": (
        "UPDATE users SET credit_balance = credit_balance + 7 WHERE id = 5",
        "UPDATE users SET credit_balance = credit_balance - 7 WHERE id = 5",
    ),
    "INV-R03": (
        (
            "INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded)"
            " VALUES (5, 'TOURNAMENT', 999, 'passing', 3)"
        ),
        "ALTER TABLE skill_rewards DISABLE TRIGGER ALL; DELETE FROM skill_rewards WHERE source_id = 999",
    ),
    "INV-R05": (
        (
            "INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (5, 227, 'CHAMPION', now())"
            " ON CONFLICT ON CONSTRAINT uq_user_tournament_badge DO UPDATE SET revoked_at = NULL"
        ),
        "UPDATE tournament_badges SET revoked_at = now() WHERE user_id = 5 AND badge_type = 'CHAMPION'",
    ),
    "INV-R06": (
        'UPDATE user_licenses SET adopted_skills = \'{"passing": {"rating": 1, "results": 1}}\' WHERE user_id = 5',
        "UPDATE user_licenses SET adopted_skills = NULL WHERE user_id = 5",
    ),
    "INV-R07": (
        f"{OWNER}; UPDATE credit_transfers SET amount = 31 WHERE sender_id = 5",
        f"{OWNER}; UPDATE credit_transfers SET amount = 30 WHERE sender_id = 5",
    ),
    "INV-R08": (
        "UPDATE specialization_progress SET total_xp = total_xp + 1 WHERE student_id = 5",
        "UPDATE specialization_progress SET total_xp = total_xp - 1 WHERE student_id = 5",
    ),
    "SYNC-01": (
        "UPDATE user_licenses SET current_level = 3, max_achieved_level = 3 WHERE user_id = 5",
        (
            "UPDATE user_licenses SET current_level = p.current_level FROM specialization_progress p"
            " WHERE user_id = 5 AND p.student_id = 5"
        ),
    ),
    "SYNC-02": (
        "INSERT INTO specialization_progress (student_id, specialization_id) VALUES (5, 'COACH')",
        f"{OWNER}; DELETE FROM specialization_progress WHERE student_id = 5 AND specialization_id = 'COACH'",
    ),
    "SYNC-03": (
        "INSERT INTO user_licenses (user_id, specialization_type) VALUES (5, 'COACH')",
        f"{OWNER}; DELETE FROM user_licenses WHERE user_id = 5 AND specialization_type = 'COACH'",
    ),
    "SYNC-04": (
        f"{OWNER}; UPDATE user_licenses SET current_level = 9, max_achieved_level = 9 WHERE user_id = 5",
        (
            f"{OWNER}; UPDATE user_licenses SET current_level = p.current_level FROM specialization_progress p"
            " WHERE user_id = 5 AND p.student_id = 5"
        ),
    ),
    "SYNC-05": (
        f"{OWNER}; UPDATE user_licenses SET max_achieved_level = 0 WHERE user_id = 5",
        f"{OWNER}; UPDATE user_licenses SET max_achieved_level = current_level WHERE user_id = 5",
    ),
    "OPS-06": (
        "UPDATE users SET credit_balance = -1 WHERE id = 5",
        "UPDATE users SET credit_balance = 1 WHERE id = 5",
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_violation_is_found_by_the_touch_and_resolves_once_it_is_mended(season: str, kind: str) -> None:
    planted, mended = PLANTED[kind]
    run(season, planted)
    check(season, 5)
    assert (kind, "user 5") in firing(season)
    run(season, mended)
    check(season, 5)
    assert (kind, "user 5") not in firing(season)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_sweep_finds_it_and_resolves_it(season: str, kind: str) -> None:
    planted, mended = PLANTED[kind]
    run(season, planted)
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    assert (kind, "user 5") in [(seen.kind, seen.subject) for seen in swept.violations]
    run(season, mended)
    sweep(lambda: psycopg2.connect(season), GRACE)
    assert (kind, "user 5") not in firing(season)


@pytest.mark.parametrize(
    ("planted", "found", "severity"),
    [
        (
            "finalized_at = now() - interval '25 hours', participants = 4, user_ids = '{5,6,7,8}'",
            "missing: users 8",
            "warning",
        ),
        (
            "finalized_at = now() - interval '73 hours', participants = 4, user_ids = '{5,6,7,8}'",
            "missing: users 8",
            "critical",
        ),
        ("finalized_at = now(), participants = 2, user_ids = '{5,6}'", "not on the roster: users 7", "warning"),
        ("finalized_at = now(), participants = 2, user_ids = NULL", "3 results", "warning"),
        ("finalized_at = now(), participants = 4", "a roster of 3 users that says 4", "warning"),
    ],
)
def test_results_that_do_not_match_their_roster_are_told(season: str, planted: str, found: str, severity: str) -> None:
    # A withdrawn result is on no stranger's list: bring the last one back.
    run(season, "UPDATE tournament_participations SET status = 'final'", f"UPDATE tournament_rosters SET {planted}")
    check(season)
    told = run(season, "SELECT annotations ->> 'found', severity FROM reward_alerts WHERE kind = 'INV-R04'")
    assert told == [(found, severity)]
    run(season, "UPDATE tournament_rosters SET participants = 3, user_ids = '{5,6,7}', finalized_at = now()")
    check(season)
    assert firing(season) == []


def test_missing_results_are_waited_for(season: str) -> None:
    run(season, "UPDATE tournament_rosters SET finalized_at = now(), participants = 4, user_ids = '{5,6,7,8}'")
    check(season)
    assert firing(season) == []


def test_a_position_that_goes_back_is_told(database_url: str) -> None:
    seen = PositionsSeen()

    def move(offset: int) -> None:
        run(
            database_url,
            "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)"
            f" VALUES ('g', 'level-commands', 0, 'c/t', {offset}, 9, 1) ON CONFLICT ON CONSTRAINT pk_partition_positions"
            " DO UPDATE SET next_offset = excluded.next_offset",
        )
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            seen.check(cursor)

    move(5)
    assert firing(database_url) == []
    move(4)
    assert firing(database_url) == [("INV-R09", "level-commands/0 of g")]
    move(6)
    assert firing(database_url) == []


def test_a_receipt_ahead_of_its_position_is_told_by_a_sweep(season: str) -> None:
    run(
        season,
        "ALTER TABLE reward_receipts DISABLE TRIGGER ALL",
        "UPDATE reward_receipts SET origin = 'event', topic = 't', log_id = 'l', partition = 0, \"offset\" = 9 WHERE seq = 1",
        "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)"
        " VALUES ('g', 't', 0, 'l', 9, 9, 1)",
    )
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    assert [(seen.kind, seen.subject, seen.expected, seen.found) for seen in swept.violations] == [
        ("INV-R09", "t/0", "a position after offset 9", "9")
    ]


def test_everybody_broken_at_once_makes_one_grouped_alert_on_the_topic(database_url: str) -> None:
    run(database_url, "INSERT INTO users (id, xp_balance) SELECT n, 1 FROM generate_series(1, 1200) AS n")
    sweep(lambda: psycopg2.connect(database_url), GRACE)
    ((alerts, announced),) = run(
        database_url, "SELECT count(*), count(notified_at) FROM reward_alerts WHERE kind = 'INV-R01'"
    )
    assert alerts == 1201
    assert announced == 101


def test_every_invariant_is_planted_somewhere() -> None:
    assert set(ALL) - set(PLANTED) == {"INV-R04", "INV-R09"}
