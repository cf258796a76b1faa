"""Every way to break an invariant is found, for the user it is about, with what was expected and what was found."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from sinks.invariants.checking import MOST_ID, Ids, Range, find_violations
from streams.reconciliation import recompute
from tests.reconciliation.conftest import play
from tests.reconciliation.season import USERS
from tests.services.databases import cloned
from tests.services.run import Service

APPEND_ONLY = ("xp_transactions", "credit_transactions", "skill_rewards", "license_progressions", "reward_receipts")

NEWCOMER = """
    INSERT INTO users (id, xp_balance, opening_xp) VALUES (8, {xp}, {xp});
    INSERT INTO specialization_progress
        (student_id, specialization_id, total_xp, opening_xp, current_level, level_adjustment)
    VALUES (8, 'PLAYER', {xp}, {xp}, {level}, {adjustment});
    INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level)
    VALUES (8, 'PLAYER', {level}, {level})"""

BREAKAGES: dict[str, tuple[str, set[tuple[str, str, str, str]]]] = {
    "an opening balance": (
        "UPDATE users SET opening_xp = 3, opening_credits = 4 WHERE id = 6",
        {("INV-R01", "user 6", "803", "800"), ("INV-R02", "user 6", "184", "180")},
    ),
    "XP that is gone": (
        "DELETE FROM xp_transactions WHERE user_id = 6 AND semester_id = 229",
        {
            ("INV-R01", "user 6", "300", "800"),
            ("INV-R03", "user 6", "1 of xp TOURNAMENT_REWARD in PLAYER 500 by tournament_229_result_6", "0"),
            ("INV-R08", "user 6", "PLAYER: 200 XP, level 2", "700 XP, level 2"),
        },
    ),
    "XP of another amount": (
        "UPDATE xp_transactions SET amount = amount + 1 WHERE user_id = 6 AND semester_id = 229",
        {
            ("INV-R01", "user 6", "801", "800"),
            (
                "INV-R03",
                "user 6",
                "1 of xp TOURNAMENT_REWARD in PLAYER 500 by tournament_229_result_6; 0 of xp TOURNAMENT_REWARD in PLAYER 501 by tournament_229_result_6",
                "0; 1",
            ),
            ("INV-R08", "user 6", "PLAYER: 701 XP, level 2", "700 XP, level 2"),
        },
    ),
    "XP in another specialization": (
        "UPDATE xp_transactions SET specialization_id = 'COACH' WHERE user_id = 6 AND semester_id = 229",
        {
            (
                "INV-R03",
                "user 6",
                "0 of xp TOURNAMENT_REWARD in COACH 500 by tournament_229_result_6; 1 of xp TOURNAMENT_REWARD in PLAYER 500 by tournament_229_result_6",
                "1; 0",
            ),
            (
                "INV-R08",
                "user 6",
                "COACH: 600 XP, level 1; PLAYER: 200 XP, level 2",
                "100 XP, level 1; 700 XP, level 2",
            ),
        },
    ),
    "XP of a session that nobody reported": (
        (
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, specialization_id, idempotency_key)"
            " VALUES (6, 'SESSION_ATTENDANCE', 20, 'PLAYER', 'session_999_xp_6')"
        ),
        {
            ("INV-R01", "user 6", "820", "800"),
            ("INV-R03", "user 6", "0 of xp SESSION_ATTENDANCE in PLAYER 20 without any receipt", "1"),
            ("INV-R08", "user 6", "PLAYER: 720 XP, level 2", "700 XP, level 2"),
        },
    ),
    "XP of a command that nobody gave": (
        (
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, specialization_id, idempotency_key)"
            " VALUES (6, 'LEVEL_COMMAND', 20, 'PLAYER', 'command_x_xp_6')"
        ),
        {
            ("INV-R01", "user 6", "820", "800"),
            ("INV-R03", "user 6", "0 of xp LEVEL_COMMAND in PLAYER 20 without any receipt", "1"),
            ("INV-R08", "user 6", "PLAYER: 720 XP, level 2", "700 XP, level 2"),
        },
    ),
    "a gift of somebody else's, with its balance": (
        (
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, specialization_id, idempotency_key)"
            " VALUES (6, 'GIFT', 20, 'PLAYER', 'gift_0_6_xp_1');"
            " UPDATE users SET xp_balance = xp_balance + 20 WHERE id = 6;"
            " UPDATE specialization_progress SET total_xp = total_xp + 20 WHERE student_id = 6 AND specialization_id = 'PLAYER'"
        ),
        set(),
    ),
    "credits that came twice": (
        (
            "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key, receipt_seq)"
            " SELECT user_id, transaction_type, amount, idempotency_key || 'x', receipt_seq FROM credit_transactions"
            "  WHERE user_id = 6 AND semester_id = 229"
        ),
        {
            ("INV-R02", "user 6", "280", "180"),
            ("INV-R03", "user 6", "1 of credits TOURNAMENT_REWARD 100 by tournament_229_result_6", "2"),
        },
    ),
    "credits that nobody gave": (
        (
            "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key)"
            " VALUES (6, 'TOURNAMENT_REWARD', 5, 'tournament_999_reward_6')"
        ),
        {
            ("INV-R02", "user 6", "185", "180"),
            ("INV-R03", "user 6", "0 of credits TOURNAMENT_REWARD 5 without any receipt", "1"),
        },
    ),
    "skill points that are gone": (
        "DELETE FROM skill_rewards WHERE user_id = 6 AND source_id = 229",
        {
            (
                "INV-R03",
                "user 6",
                "1 of skill passing 10 by tournament_229_result_6; 1 of skill tackling 10 by tournament_229_result_6",
                "0; 0",
            )
        },
    ),
    "skill points of another receipt": (
        "UPDATE skill_rewards SET receipt_seq = NULL WHERE user_id = 6 AND source_id = 229 AND skill_name = 'passing'",
        {
            (
                "INV-R03",
                "user 6",
                "1 of skill passing 10 by tournament_229_result_6; 0 of skill passing 10 without any receipt",
                "0; 1",
            )
        },
    ),
    "a level change that is gone": (
        "DELETE FROM license_progressions",
        {
            (
                "INV-R03",
                "user 5",
                "1 of level in PLAYER from 1 to 2 by tournament_227_result_5; 1 of level in PLAYER from 2 to 1 by tournament_227_result_5_r2; 1 of level in PLAYER from 1 to 2 by session_10_presence_5",
                "0; 0; 0",
            ),
            ("INV-R03", "user 6", "1 of level in PLAYER from 1 to 2 by tournament_229_result_6", "0"),
        },
    ),
    "a receipt that is gone": (
        "DELETE FROM reward_receipts WHERE user_id = 6 AND event_key LIKE 'tournament_229%'",
        {
            (
                "INV-R03",
                "user 6",
                "0 of credits TOURNAMENT_REWARD 100 without any receipt; 0 of level in PLAYER from 1 to 2 without any receipt; 0 of skill passing 10 without any receipt; 0 of skill tackling 10 without any receipt; 0 of xp TOURNAMENT_REWARD in PLAYER 500 without any receipt",
                "1; 1; 1; 1; 1",
            ),
            ("INV-R05", "user 6", "tournament 229: no badge", "CHAMPION"),
        },
    ),
    "a sender's leg that is gone": (
        "DELETE FROM credit_transactions WHERE transaction_type = 'TRANSFER_OUT'",
        {
            ("INV-R02", "user 5", "132", "102"),
            ("INV-R03", "user 5", "1 of credits TRANSFER_OUT -30 by transfer_5-a_transfer_5", "0"),
            ("INV-R07", "user 5", "a leg of -30 in transfer_5-a_transfer_5", "none"),
        },
    ),
    "a receiver's leg that is gone": (
        "DELETE FROM credit_transactions WHERE transaction_type = 'TRANSFER_IN'",
        {
            ("INV-R02", "user 6", "150", "180"),
            ("INV-R03", "user 6", "1 of credits TRANSFER_IN 30 by its sender", "0"),
            ("INV-R07", "user 6", "a leg of 30 in transfer_5-a_transfer_5", "none"),
        },
    ),
    "a leg without a transfer": (
        (
            "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key)"
            " VALUES (6, 'TRANSFER_IN', 5, 'transfer_9-x_credit_6')"
        ),
        {
            ("INV-R02", "user 6", "185", "180"),
            ("INV-R03", "user 6", "0 of credits TRANSFER_IN 5 without any receipt", "1"),
            ("INV-R07", "user 6", "no leg: there is no such transfer", "5"),
        },
    ),
    "a refused transfer that counts as completed": (
        "UPDATE credit_transfers SET status = 'COMPLETED', reason = NULL",
        {
            ("INV-R07", "user 6", "a leg of 1000000 in transfer_7-b_transfer_7", "none"),
            ("INV-R07", "user 7", "a leg of -1000000 in transfer_7-b_transfer_7", "none"),
        },
    ),
    "a badge that was taken off": (
        "UPDATE tournament_badges SET revoked_at = now() WHERE user_id = 6 AND semester_id = 228",
        {("INV-R05", "user 6", "tournament 228: THIRD_PLACE", "no badge")},
    ),
    "a badge that is gone": (
        "DELETE FROM tournament_badges WHERE user_id = 6 AND semester_id = 228",
        {("INV-R05", "user 6", "tournament 228: THIRD_PLACE", "no badge")},
    ),
    "a revoked badge that is worn": (
        "UPDATE tournament_badges SET revoked_at = NULL WHERE user_id = 7",
        {
            (
                "INV-R05",
                "user 7",
                "tournament 227: no badge; tournament 227: a final participation",
                "THIRD_PLACE; THIRD_PLACE",
            )
        },
    ),
    "a badge without a final result": (
        "UPDATE tournament_participations SET status = 'withdrawn' WHERE user_id = 6 AND semester_id = 228",
        {
            ("INV-R05", "user 6", "tournament 228: a final participation", "THIRD_PLACE"),
            (
                "INV-R06",
                "user 6",
                "PLAYER: passing 56.0 of 1, tackling 60.0 of 1",
                "passing 60.8 of 2, tackling 63.4286 of 2",
            ),
        },
    ),
    "a rating": (
        (
            "UPDATE user_licenses SET football_skills = jsonb_set(football_skills, '{passing,rating}', '1')"
            " WHERE user_id = 6 AND specialization_type = 'PLAYER'"
        ),
        {("INV-R06", "user 6", "PLAYER: passing 60.8 of 2", "passing 1.0 of 2")},
    ),
    "how many results a rating has": (
        (
            "UPDATE user_licenses SET football_skills = jsonb_set(football_skills, '{passing,results}', '9')"
            " WHERE user_id = 6 AND specialization_type = 'PLAYER'"
        ),
        {("INV-R06", "user 6", "PLAYER: passing 60.8 of 2", "passing 60.8 of 9")},
    ),
    "a rating of no results": (
        'UPDATE user_licenses SET football_skills = \'{"speed": {"rating": 1, "results": 1}}\' WHERE user_id = 7',
        {("INV-R06", "user 7", "PLAYER: speed none", "speed 1.0 of 1")},
    ),
    "ratings that are none": (
        "UPDATE user_licenses SET football_skills = '[1]' WHERE user_id = 7",
        {("INV-R06", "user 7", "PLAYER: ratings with their results", "[1]")},
    ),
    "a result's performance": (
        'UPDATE tournament_participations SET skills = \'[{"name": "passing", "performance": 1}]\' WHERE user_id = 5',
        {("INV-R06", "user 5", "PLAYER: passing 40.2 of 1, tackling none", "passing 56.0 of 1, tackling 57.1429 of 1")},
    ),
    "total XP": (
        "UPDATE specialization_progress SET total_xp = total_xp - 1 WHERE student_id = 7",
        {("INV-R08", "user 7", "PLAYER: 0 XP, level 1", "-1 XP, level 1")},
    ),
    "an adjusted level": (
        "UPDATE specialization_progress SET level_adjustment = 1 WHERE student_id = 5",
        {("INV-R08", "user 5", "PLAYER: 520 XP, level 3", "520 XP, level 2")},
    ),
    "levels that nobody gave": (
        (
            "UPDATE specialization_progress SET current_level = 4 WHERE student_id = 5;"
            " UPDATE user_licenses SET current_level = 4, max_achieved_level = 4 WHERE user_id = 5"
        ),
        {("INV-R08", "user 5", "PLAYER: 520 XP, level 2", "520 XP, level 4")},
    ),
    "XP without progress": (
        "DELETE FROM specialization_progress WHERE student_id = 6 AND specialization_id = 'COACH'",
        {
            ("INV-R08", "user 6", "COACH: 100 XP, level 1", "no progress"),
            ("SYNC-03", "user 6", "COACH: progress", "a license at 1 alone"),
        },
    ),
    "progress above the maximum": (
        "UPDATE specialization_progress SET current_level = 9 WHERE student_id = 7",
        {
            ("INV-R08", "user 7", "PLAYER: 0 XP, level 1", "0 XP, level 9"),
            ("SYNC-01", "user 7", "PLAYER: one level", "progress at 9, license at 1"),
            ("SYNC-04", "user 7", "PLAYER: at most level 8", "9"),
        },
    ),
    "a license above the maximum": (
        "UPDATE user_licenses SET current_level = 9, max_achieved_level = 9 WHERE user_id = 7",
        {
            ("SYNC-01", "user 7", "PLAYER: one level", "progress at 1, license at 9"),
            ("SYNC-04", "user 7", "PLAYER: at most level 8", "9"),
        },
    ),
    "a highest level below the current one": (
        "UPDATE user_licenses SET max_achieved_level = current_level - 1 WHERE user_id = 5",
        {("SYNC-05", "user 5", "PLAYER: a highest level of at least 2", "1")},
    ),
    "an opening of one specialization": (
        "UPDATE specialization_progress SET opening_xp = 5 WHERE student_id = 7",
        {("INV-R08", "user 7", "PLAYER: 5 XP, level 1", "0 XP, level 1")},
    ),
    "balances that come from nowhere": (
        "INSERT INTO users (id, xp_balance, credit_balance) VALUES (8, 1, -1)",
        {
            ("INV-R01", "user 8", "0", "1"),
            ("INV-R02", "user 8", "0", "-1"),
            ("OPS-06", "user 8", "a credit balance of at least 0", "-1"),
        },
    ),
    "nothing, at just the XP that a level needs": (NEWCOMER.format(xp=500, level=2, adjustment=0), set()),
    "nothing, at the maximum and adjusted beyond": (NEWCOMER.format(xp=0, level=8, adjustment=20), set()),
    "a license that is gone": (
        "DELETE FROM user_licenses WHERE user_id = 6 AND specialization_type = 'COACH'",
        {("SYNC-02", "user 6", "COACH: a license", "progress at 1 alone")},
    ),
}


@pytest.fixture(scope="module")
def played(postgres: Service) -> Iterator[str]:
    """A season in a database of which nothing is changed for good."""
    with cloned(postgres, "template") as url:
        play(url)
        yield url


@pytest.mark.parametrize("what", BREAKAGES)
def test_it_is_found(played: str, what: str) -> None:
    statement, expected = BREAKAGES[what]
    with closing(psycopg2.connect(played)) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for table in APPEND_ONLY:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        cursor.execute(statement)
        swept = find_violations(cursor, Range(1, MOST_ID), recompute)
        touched = find_violations(cursor, Ids((*USERS, 8)), recompute)
    assert {(seen.kind, seen.subject, seen.expected, seen.found) for seen in swept} == expected
    assert touched == swept
