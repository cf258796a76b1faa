"""`laurels repair`, kind of damage by kind: what an owner did to rows while their receipts stand is put back as it was."""

from typing import Any

import pytest

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from tests.oracle.academy_log import Academy, command, presence, result
from tests.replay.rows import SKILLS, WHY, Laurels, query

MEMO = "SELECT memo FROM credit_transfers WHERE idempotency_key = 'paid'"
REASONS = """
SELECT advancement_reason FROM license_progressions JOIN user_licenses l ON l.id = user_license_id WHERE user_id = 1
"""
OF_USER_1 = "(SELECT id FROM user_licenses WHERE user_id = 1)"

DAMAGES = {
    "a participation is gone": ["DELETE FROM tournament_participations WHERE user_id = 2 AND semester_id = 11"],
    "a withdrawn participation is gone": [
        "DELETE FROM tournament_participations WHERE user_id = 1 AND semester_id = 11"
    ],
    "a participation was changed": [
        "UPDATE tournament_participations SET placement = 1, skills = '[]' WHERE user_id = 3 AND semester_id = 10",
        "UPDATE tournament_participations SET status = 'withdrawn', xp_awarded = 9 WHERE user_id = 5",
        "UPDATE tournament_participations SET achieved_at = '2020-01-01Z' WHERE user_id = 4 AND semester_id = 10",
    ],
    "attendances are gone": ["DELETE FROM session_attendances WHERE user_id = 1 AND session_id < 5"],
    "an attendance was changed": [
        "UPDATE session_attendances SET status = 'late', revision = 4, theory_hours = 9 WHERE user_id = 1 AND session_id = 7"
    ],
    "badges are gone, one of them revoked": ["DELETE FROM tournament_badges WHERE user_id IN (1, 2)"],
    "a badge was revoked, and a revoked one lifted": [
        "UPDATE tournament_badges SET revoked_at = CASE WHEN revoked_at IS NULL THEN now() END WHERE user_id IN (2, 3)"
    ],
    "transfers are gone": ["DELETE FROM credit_transfers"],
    "a progress is gone": ["DELETE FROM specialization_progress WHERE student_id = 1"],
    "sessions, hours, adjustment and milestones were changed": [
        "UPDATE specialization_progress SET completed_sessions = 3, theory_hours_completed = 70 WHERE student_id = 1",
        "UPDATE specialization_progress SET level_adjustment = -2, milestones_paid = 8 WHERE student_id = 1",
        "UPDATE specialization_progress SET practice_hours_completed = 5 WHERE student_id = 4",
    ],
    "a license is gone with its level changes": [
        f"DELETE FROM license_progressions WHERE user_license_id IN {OF_USER_1}",
        "DELETE FROM user_licenses WHERE user_id = 1",
    ],
    "a rating was changed": [
        "UPDATE user_licenses SET football_skills = football_skills - 'speed', rated_at = '2020-01-01Z' WHERE user_id = 4"
    ],
    "levels were changed on one side": ["UPDATE user_licenses SET current_level = 7 WHERE user_id = 1"],
    "level changes are gone": [f"DELETE FROM license_progressions WHERE user_license_id IN {OF_USER_1}"],
    "everything of a user is gone but the receipts": [
        f"DELETE FROM license_progressions WHERE user_license_id IN {OF_USER_1}",
        "DELETE FROM user_licenses WHERE user_id = 1",
        "DELETE FROM specialization_progress WHERE student_id = 1",
        *[
            f"DELETE FROM {table} WHERE user_id = 1"
            for table in (
                *("xp_transactions", "credit_transactions", "skill_rewards", "tournament_badges"),
                *("tournament_participations", "session_attendances"),
            )
        ],
        "DELETE FROM credit_transfers WHERE sender_id = 1",
        "UPDATE users SET xp_balance = 0, credit_balance = 0 WHERE id = 1",
    ],
    "a user's own row is gone": [
        f"DELETE FROM license_progressions WHERE user_license_id IN {OF_USER_1}",
        "DELETE FROM user_licenses WHERE user_id = 1",
        "DELETE FROM specialization_progress WHERE student_id = 1",
        "DELETE FROM users WHERE id = 1",
    ],
}

STATE = {
    "users": "id, xp_balance, credit_balance",
    "tournament_participations": "user_id, semester_id, placement, participants, skills, specialization_id, status, "
    "revision, adopted, xp_awarded, credits_awarded, achieved_at",
    "session_attendances": "session_attendances.*",
    "tournament_badges": "user_id, semester_id, badge_type, earned_at, revoked_at",
    "credit_transfers": "sender_id, idempotency_key, receiver_id, amount, memo, status, reason, receipt_seq, occurred_at",
    "specialization_progress": "student_id, specialization_id, current_level, total_xp, completed_sessions, "
    "theory_hours_completed, practice_hours_completed, level_adjustment, milestones_paid, opening_xp",
    "user_licenses": "user_id, specialization_type, current_level, max_achieved_level, football_skills, rated_at, "
    "rated_tournament_id",
    "xp_transactions": "user_id, transaction_type, amount, balance_after, semester_id, specialization_id, "
    "idempotency_key, receipt_seq, created_at",
    "credit_transactions": "user_id, transaction_type, amount, balance_after, semester_id, idempotency_key, receipt_seq, "
    "created_at",
    "skill_rewards": "user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at",
    "license_progressions JOIN user_licenses l ON l.id = user_license_id": "l.user_id, l.specialization_type, from_level, "
    "to_level, receipt_seq, advanced_at, advanced_by, advancement_reason",
}
"""What must be as it was. Numbers of rows and the times at which they were written may be others."""


def state(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: query(url, f"SELECT ROW({columns})::text FROM {table} ORDER BY 1") for table, columns in STATE.items()
    }


@pytest.mark.parametrize("statements", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_planned_mended_and_audited(academy: Academy, laurels: Laurels, statements: list[str]) -> None:
    before = state(academy.url)
    violated = laurels("reconcile", exits=1)["violations"]
    academy.tamper(*statements)
    damaged = state(academy.url)
    assert damaged != before
    assert laurels("verify", exits=1)["differences"] != []
    planned = laurels("repair", "plan", exits=1)
    assert state(academy.url) == damaged
    assert (planned["strays"], planned["left"]) == ([], [])
    applied = laurels("repair", "apply", "--plan", planned["plan"])
    assert applied["rows"] == planned["rows"]
    assert applied["missing"] == planned["missing"]
    assert state(academy.url) == before
    assert laurels("verify")["differences"] == []
    assert laurels("reconcile", exits=1)["violations"] == violated
    mended = len(applied["rows"]) + len(applied["missing"]) + len(applied["balances"])
    assert query(academy.url, "SELECT count(*) FROM audit_log WHERE action LIKE 'repair.%'") == [(mended,)]
    assert laurels("repair", "plan")["rows"] == []


def test_what_is_mended_goes_on_as_if_nothing_had_happened(academy: Academy, laurels: Laurels) -> None:
    academy.tamper(*DAMAGES["everything of a user is gone but the receipts"])
    laurels("repair", "apply")
    violated = laurels("reconcile", exits=1)["violations"]
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 3, participants=5, skills=SKILLS, revision=2), result(1, 12, 1))
    academy.tell(SESSION_ATTENDANCE, *[presence(1, session) for session in range(20, 30)])
    assert laurels("reconcile", exits=1)["violations"] == violated
    assert query(academy.url, "SELECT milestones_paid FROM specialization_progress WHERE student_id = 1") == [(2,)]


def test_rows_whose_receipts_are_gone_as_well_are_left_to_replay(academy: Academy, laurels: Laurels) -> None:
    before = state(academy.url)
    academy.tamper(
        "DELETE FROM tournament_participations WHERE user_id IN (2, 3)",
        "DELETE FROM reward_receipts WHERE user_id = 2 AND event_key LIKE 'tournament%'",
        "DELETE FROM xp_transactions WHERE user_id = 2",
        "UPDATE users SET xp_balance = 0 WHERE id = 2",
    )
    applied = laurels("repair", "apply", exits=1)
    assert {row["user_id"] for row in applied["rows"]} == {3}
    assert {left["mended_by"] for left in applied["left"]} == {"laurels replay"}
    assert {left["user_id"] for left in applied["left"]} == {2}
    assert applied["balances"] == []
    assert query(academy.url, "SELECT xp_balance FROM users WHERE id = 2") == [(0,)]
    now = state(academy.url)["tournament_participations"]
    assert [row for row in now if row[0].startswith("(3,")] == [
        row for row in before["tournament_participations"] if row[0].startswith("(3,")
    ]


def test_rows_that_nothing_demands_are_strays_and_stay(academy: Academy, laurels: Laurels) -> None:
    academy.tamper(
        "INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (4, 10, 'CHAMPION', now())",
        "UPDATE credit_transfers SET amount = 31 WHERE idempotency_key = 'paid'",
    )
    before = state(academy.url)
    strays = laurels("repair", "apply", exits=1)["strays"]
    assert [(stray["table"], stray["user_id"]) for stray in strays] == [
        ("credit_transfers", 1),
        ("tournament_badges", 4),
    ]
    assert (strays[0]["found"], strays[0]["expected"]) == ({"amount": 31}, {"amount": 30})
    assert state(academy.url) == before


def test_a_user_of_whom_more_is_recorded_meanwhile_is_left_for_another_time(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    academy.tamper("DELETE FROM session_attendances WHERE user_id = 1 AND session_id = 3")

    def record_more(*_: object) -> None:
        academy.apply_directly("level-commands", command(1, "meanwhile", xp_change=40))

    monkeypatch.setattr("ops.repair.mending.lock", _once(record_more, "ops.repair.mending.lock"))
    applied = laurels("repair", "apply", exits=1)
    assert (applied["moved"], applied["rows"]) == ([1], [])
    assert len(laurels("repair", "apply")["rows"]) == 1
    assert laurels("verify")["differences"] == []


def _once(first: Any, name: str) -> Any:
    """What stands under `name`, with `first` done before it the first time."""
    module, _, attribute = name.rpartition(".")
    real = getattr(__import__(module, fromlist=[attribute]), attribute)
    left = [first]

    def call(*arguments: Any) -> Any:
        if left:
            left.pop()(*arguments)
        return real(*arguments)

    return call


@pytest.mark.parametrize("erased", ["1", "2"])
def test_no_word_of_an_erased_user_comes_back(academy: Academy, laurels: Laurels, erased: str) -> None:
    assert query(academy.url, MEMO) == [("for the shoes",)]
    assert (WHY,) in query(academy.url, REASONS)
    laurels("erase", "--user", erased, "--reason", "asked", "--yes")
    academy.tamper("DELETE FROM credit_transfers WHERE idempotency_key = 'paid'", *DAMAGES["level changes are gone"])
    laurels("repair", "apply")
    assert query(academy.url, MEMO) == [("",)]
    reasons = query(academy.url, REASONS)
    assert reasons == [(None,)] * len(reasons) if erased == "1" else (WHY,) in reasons
