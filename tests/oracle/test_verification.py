"""A verification is silent on a sound database, finds exactly what was changed behind our back, and knows its limits."""

from collections.abc import Iterator

import psycopg2
import pytest

from ops.verification.report import EventAt
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from tests.oracle.academy_log import AT, TOPICS, Academy, command, named, presence, result, transfer


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    academy = Academy(database_url)
    academy.tell(
        TOURNAMENT_RESULTS,
        result(1, 10, 1, participants=8, skills=[{"name": "passing"}]),
        result(1, 11, 5, skills=[{"name": "passing", "performance": 61.5}]),
        result(2, 10, 2),
        result(2, 10, 2),
        result(2, 10, 3),
        b"{",
    )
    academy.tell(SESSION_ATTENDANCE, *[presence(1, session, theory_hours=2) for session in range(1, 12)])
    academy.tell(LEVEL_COMMANDS, command(1, "up", new_level=4), command(1, "nothing"))
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "paid"), transfer(2, 1, 3000, "dear"))
    academy.tell(
        TOURNAMENT_RESULTS,
        result(1, 10, 2, revision=2, specialization="COACH"),
        result(1, 11, 5, revision=3, status="withdrawn"),
    )
    academy.tell(TOURNAMENT_ROSTERS, {"tournament_id": 10, "participants": 2, "user_ids": [1, 2], "finalized_at": AT})
    yield academy
    academy.close()


def test_a_sound_database_shows_no_difference(academy: Academy) -> None:
    report = academy.verify()
    assert report.differences == []
    assert report.unverifiable == 0
    assert report.events == sum(len(log) for log in academy.topics.records.values())
    assert {table for table, rows in report.compared.items() if rows} == {
        "credit_transactions",
        "credit_transfers",
        "dead_letters",
        "license_progressions",
        "partition_positions",
        "reward_receipts",
        "session_attendances",
        "skill_rewards",
        "specialization_progress",
        "tournament_badges",
        "tournament_participations",
        "tournament_rosters",
        "user_licenses",
        "users",
        "xp_transactions",
    }


PLANTS = [
    ("UPDATE xp_transactions SET amount = 501 WHERE idempotency_key = 'tournament_10_xp_1'",
     "xp_transactions", "tournament_10_xp_1"),
    ("UPDATE xp_transactions SET specialization_id = 'COACH' WHERE idempotency_key = 'session_3_xp_1'",
     "xp_transactions", "session_3_xp_1"),
    ("DELETE FROM credit_transactions WHERE idempotency_key = 'session_10_attendance_bonus_1'",
     "credit_transactions", "session_10_attendance_bonus_1"),
    ("INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) VALUES (2, 'GIFT', 5, 'gift')",
     "credit_transactions", "gift"),
    ("UPDATE skill_rewards SET points_awarded = 9 WHERE source_type = 'TOURNAMENT' AND source_id = 11",
     "skill_rewards", "1 TOURNAMENT 11 passing"),
    ("UPDATE users SET credit_balance = credit_balance + 1 WHERE id = 2", "users", "user 2"),
    ("UPDATE users SET xp_balance = 0 WHERE id = 1", "users", "user 1"),
    ("INSERT INTO users (id, xp_balance) VALUES (99, 7)", "users", "user 99"),
    ("UPDATE specialization_progress SET current_level = 5 WHERE student_id = 1 AND specialization_id = 'PLAYER'",
     "specialization_progress", "user 1, PLAYER"),
    ("UPDATE specialization_progress SET milestones_paid = 0 WHERE student_id = 1 AND specialization_id = 'PLAYER'",
     "specialization_progress", "user 1, PLAYER"),
    ("DELETE FROM specialization_progress WHERE student_id = 2", "specialization_progress", "user 2, PLAYER"),
    ("UPDATE user_licenses SET max_achieved_level = 8 WHERE user_id = 2", "user_licenses", "user 2, PLAYER"),
    ('UPDATE user_licenses SET football_skills = \'{"a": {"rating": 9, "results": 1}}\' WHERE user_id = 2', "user_licenses", "user 2, PLAYER"),
    ("INSERT INTO user_licenses (user_id, specialization_type) VALUES (2, 'COACH')", "user_licenses", "user 2, COACH"),
    ("DELETE FROM tournament_badges WHERE user_id = 2", "tournament_badges", "user 2, tournament 10, RUNNER_UP"),
    ("UPDATE tournament_badges SET revoked_at = NULL WHERE badge_type = 'CHAMPION'",
     "tournament_badges", "user 1, tournament 10, CHAMPION"),
    ("INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (2, 11, 'CHAMPION', now())",
     "tournament_badges", "user 2, tournament 11, CHAMPION"),
    ("UPDATE tournament_participations SET placement = 1 WHERE user_id = 2",
     "tournament_participations", "user 2, tournament 10"),
    ("DELETE FROM session_attendances WHERE session_id = 4", "session_attendances", "user 1, session 4"),
    ("UPDATE session_attendances SET theory_hours = 9 WHERE session_id = 4", "session_attendances", "user 1, session 4"),
    ("UPDATE credit_transfers SET amount = 31 WHERE idempotency_key = 'paid'", "credit_transfers",
     "transfer_1-paid_transfer_1"),
    ("DELETE FROM credit_transfers WHERE idempotency_key = 'dear'", "credit_transfers", "transfer_2-dear_transfer_2"),
    ("UPDATE tournament_rosters SET participants = 3", "tournament_rosters", "tournament 10"),
    ("DELETE FROM tournament_rosters", "tournament_rosters", "tournament 10"),
    ("DELETE FROM dead_letters WHERE reason = 'conflict'", "dead_letters", "tournament-results[0]@4"),
    ("UPDATE dead_letters SET reason = 'invalid_event' WHERE reason = 'undecodable'",
     "dead_letters", "tournament-results[0]@5"),
    ("UPDATE dead_letters SET value = 'forged' WHERE reason = 'undecodable'", "dead_letters", "tournament-results[0]@5"),
    ("UPDATE dead_letters SET status = 'open' WHERE reason = 'empty_command'", "dead_letters", "level-commands[0]@1"),
    ("UPDATE dead_letters SET \"offset\" = 0 WHERE reason = 'undecodable'", "dead_letters", "tournament-results[0]@0"),
    ("UPDATE reward_receipts SET \"grant\" = '{}' WHERE event_key = 'tournament_10_result_2'",
     "reward_receipts", "tournament_10_result_2"),
    ("UPDATE reward_receipts SET revision = 4 WHERE event_key = 'tournament_11_result_1_r3'",
     "reward_receipts", "tournament_11_result_1_r3"),
    ("UPDATE reward_receipts SET \"offset\" = 3 WHERE event_key = 'tournament_10_result_2'",
     "reward_receipts", "tournament_10_result_2"),
    ("DELETE FROM license_progressions WHERE to_level = 4",
     "license_progressions", "1 PLAYER"),
    ("UPDATE partition_positions SET next_offset = 1 WHERE topic = 'credit-transfers'",
     "partition_positions", "credit-transfers[0]"),
    ("UPDATE partition_positions SET next_offset = 99 WHERE topic = 'tournament-rosters'",
     "partition_positions", "tournament-rosters[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "table", "key"), PLANTS)
def test_a_planted_difference_is_found_by_name(academy: Academy, statement: str, table: str, key: str) -> None:
    academy.tamper(statement)
    found = named(academy.verify().differences)
    assert (table, key) in [
        (name, each if name != "license_progressions" else each[: len(key)]) for name, each in found
    ]
    follow_ups = {"reward_receipts", "xp_transactions", "credit_transactions", "credit_transfers", "dead_letters"}
    if '"offset" = 0' in statement:
        assert found == [(table, key), (table, "tournament-results[0]@5")]
    elif table not in {"reward_receipts", "partition_positions"}:
        assert len(found) == 1
    else:
        assert {name for name, _ in found} <= follow_ups | {"partition_positions", "tournament_participations"}


def test_a_difference_says_what_was_expected_and_which_event_says_so(academy: Academy) -> None:
    academy.tamper("UPDATE xp_transactions SET amount = 501 WHERE idempotency_key = 'tournament_11_xp_1'")
    (difference,) = academy.verify().differences
    assert (difference.expected, difference.found) == ({"amount": 100}, {"amount": 501})
    assert difference.event == EventAt(TOURNAMENT_RESULTS, 0, 1)
    assert difference.user_id == 1


def test_an_event_that_was_never_recorded_is_missing_everywhere(academy: Academy) -> None:
    academy.publish(SESSION_ATTENDANCE, presence(2, 5))
    academy.tamper("UPDATE partition_positions SET next_offset = 12 WHERE topic = 'session-attendance'")
    differences = academy.verify().differences
    assert named(differences) == [
        ("credit_transactions", "session_5_attendance_2"),
        ("reward_receipts", "session_5_presence_2"),
        ("session_attendances", "user 2, session 5"),
        ("specialization_progress", "user 2, PLAYER"),
        ("users", "user 2"),
        ("xp_transactions", "session_5_xp_2"),
    ]
    assert {d.event for d in differences if d.table != "users" and d.event} == {EventAt(SESSION_ATTENDANCE, 0, 11)}


def test_what_lies_beyond_the_positions_is_not_looked_at(academy: Academy) -> None:
    academy.publish(SESSION_ATTENDANCE, presence(2, 5), b"poison")
    assert academy.verify().differences == []


@pytest.mark.parametrize("start", [1, 3, 7, 9])
def test_what_retention_took_is_taken_as_given(academy: Academy, start: int) -> None:
    academy.topics.starts = {TOURNAMENT_RESULTS: min(start, 8), SESSION_ATTENDANCE: start}
    academy.topics.starts[CREDIT_TRANSFERS] = academy.topics.starts[TOURNAMENT_ROSTERS] = 1
    report = academy.verify()
    assert report.differences == []
    assert report.unverifiable > start


def test_a_log_that_was_forgotten_is_taken_as_given(academy: Academy) -> None:
    with psycopg2.connect(academy.url) as connection, connection.cursor() as cursor:
        for topic in TOPICS:
            academy.topics.log_ids[topic] = f"reborn/{topic}"
            cursor.execute(
                "UPDATE partition_positions SET log_id = %s, next_offset = 0 WHERE topic = %s",
                (f"reborn/{topic}", topic),
            )
    connection.close()
    academy.start_over()
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 3, revision=3, skills=[{"name": "speed"}]), result(2, 10, 2))
    academy.tell(SESSION_ATTENDANCE, presence(1, 4, "late", revision=2), *[presence(1, n) for n in range(20, 30)])
    academy.tell(CREDIT_TRANSFERS, transfer(2, 1, 90, "paid-back"), transfer(2, 1, 3000, "dear"))
    report = academy.verify()
    assert report.differences == []
    academy.tamper("UPDATE users SET credit_balance = credit_balance + 1 WHERE id = 1")
    assert named(academy.verify().differences) == [("users", "user 1")]


def test_what_came_by_http_is_given_until_its_event_comes_by_and_is_then_decided_again(academy: Academy) -> None:
    by_hand = command(2, "by-hand", new_level=3, xp_change=40, sessions_change=2, theory_hours_change=5)
    academy.apply_directly(LEVEL_COMMANDS, by_hand)
    academy.apply_directly(LEVEL_COMMANDS, command(2, "refused", new_level=99), "cli")
    academy.apply_directly(CREDIT_TRANSFERS, transfer(1, 2, 7, "by-hand"))
    academy.apply_directly(CREDIT_TRANSFERS, transfer(2, 1, 100_000, "dearer"))
    given = academy.verify()
    assert (given.differences, given.unverifiable) == ([], 4)
    academy.tell(SESSION_ATTENDANCE, presence(2, 90))
    academy.publish(LEVEL_COMMANDS, by_hand, command(2, "refused", new_level=99))
    academy.publish(CREDIT_TRANSFERS, transfer(1, 2, 7, "by-hand"), transfer(1, 2, 8, "by-hand"), b"poison")
    academy.publish(CREDIT_TRANSFERS, transfer(2, 1, 100_000, "dearer"))
    published = academy.verify()
    assert (published.differences, published.unverifiable) == ([], 0), "also where no worker has come by yet"
    academy.deliver()
    report = academy.verify()
    assert (report.differences, report.unverifiable) == ([], 0)
    academy.tamper(
        "UPDATE user_licenses SET current_level = 2 WHERE user_id = 2",
        "UPDATE specialization_progress SET completed_sessions = completed_sessions + 1 WHERE student_id = 2",
        "UPDATE credit_transfers SET memo = 'another' WHERE idempotency_key = 'by-hand'",
        """UPDATE reward_receipts SET "grant" = '{}' WHERE event_key = 'command_by-hand_level_2'""",
    )
    assert named(academy.verify().differences) == [
        ("credit_transfers", "transfer_1-by-hand_transfer_1"),
        ("reward_receipts", "command_by-hand_level_2"),
        ("specialization_progress", "user 2, PLAYER"),
        ("user_licenses", "user 2, PLAYER"),
    ]


def test_what_the_database_refused_is_for_nobody_else_to_tell(academy: Academy) -> None:
    academy.publish(SESSION_ATTENDANCE, presence(2, 5))
    academy.tamper(
        "UPDATE partition_positions SET next_offset = 12 WHERE topic = 'session-attendance'",
        'INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail) '
        "VALUES ('session-attendance', 'memory/session-attendance', 0, 11, 'refused_by_database', '')",
    )
    report = academy.verify()
    assert (report.differences, report.unverifiable) == ([], 1)
