"""`laurels repair`: what somebody with owner rights did while the receipts stand."""

import pytest

from sinks.migration import migrate_to_head
from tests.oracle.academy_log import Academy
from tests.replay.rows import Laurels, everything, query


def test_what_is_right_is_left_alone(academy: Academy, laurels: Laurels) -> None:
    before = everything(academy.url)
    planned = laurels("repair", "plan")
    assert [planned[kind] for kind in ("missing", "rows", "balances", "strays", "left")] == [[]] * 5
    laurels("repair", "apply", "--plan", planned["plan"])
    assert everything(academy.url) == before


def test_removed_entries_and_changed_balances_are_mended_and_audited(academy: Academy, laurels: Laurels) -> None:
    entries = "SELECT user_id, transaction_type, amount, balance_after, idempotency_key, receipt_seq, created_at"
    xp = query(academy.url, f"{entries} FROM xp_transactions ORDER BY idempotency_key")
    credits = query(academy.url, f"{entries} FROM credit_transactions ORDER BY idempotency_key")
    skills = query(academy.url, "SELECT count(*), sum(points_awarded) FROM skill_rewards")
    academy.tamper(
        "DELETE FROM xp_transactions WHERE user_id IN (1, 2)",
        "DELETE FROM credit_transactions WHERE user_id IN (1, 2)",
        "DELETE FROM skill_rewards WHERE user_id = 2",
        "DELETE FROM license_progressions WHERE user_license_id IN (SELECT id FROM user_licenses WHERE user_id = 1)",
        "UPDATE users SET xp_balance = 7, credit_balance = credit_balance - 5 WHERE id IN (1, 3)",
        "UPDATE specialization_progress SET total_xp = 9999, current_level = 6 WHERE student_id = 4",
    )
    before = everything(academy.url)
    # A replay cannot mend it: the receipts stand.
    assert laurels("replay", "plan")["changes"] == {}
    planned = laurels("repair", "plan", exits=1)
    assert everything(academy.url) == before
    assert {each["user_id"] for each in planned["missing"]} == {1, 2}
    assert {each["user_id"] for each in planned["balances"]} == {1, 3, 4}
    applied = laurels("repair", "apply", "--plan", planned["plan"])
    assert len(applied["missing"]) == len(planned["missing"])
    assert query(academy.url, f"{entries} FROM xp_transactions ORDER BY idempotency_key") == xp
    assert query(academy.url, f"{entries} FROM credit_transactions ORDER BY idempotency_key") == credits
    assert query(academy.url, "SELECT count(*), sum(points_awarded) FROM skill_rewards") == skills
    assert laurels("verify")["differences"] == []
    assert query(academy.url, "SELECT count(*) FROM audit_log WHERE action = 'repair.posted'") == [
        (len(planned["missing"]),)
    ]
    assert laurels("repair", "plan")["missing"] == []


def test_strays_are_listed_and_left(academy: Academy, laurels: Laurels) -> None:
    academy.tamper(
        "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) VALUES (3, 'GIFT', 9, 'g')"
    )
    [stray] = laurels("repair", "plan", exits=1)["strays"]
    assert (stray["table"], stray["key"], stray["user_id"]) == ("credit_transactions", "g", 3)
    assert (stray["found"]["amount"], stray["expected"]) == (9, None)
    assert laurels("repair", "apply", "--user", "3", exits=1)["strays"] == [stray]
    assert query(academy.url, "SELECT count(*) FROM credit_transactions WHERE idempotency_key = 'g'") == [(1,)]


def test_a_plan_that_no_longer_holds_is_refused(academy: Academy, laurels: Laurels) -> None:
    academy.tamper("DELETE FROM xp_transactions WHERE user_id = 2")
    planned = laurels("repair", "plan", exits=1)
    academy.tamper("DELETE FROM xp_transactions WHERE user_id = 3")
    assert "look at it before" in laurels("repair", "apply", "--plan", planned["plan"], exits=1)
    assert query(academy.url, "SELECT count(*) FROM xp_transactions WHERE user_id = 2") == [(0,)]


def test_of_an_adopted_database_only_sums_that_do_not_add_up_are_named(
    legacy_url: str, bootstrap_servers: str, namespace: str, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_to_head(legacy_url)
    monkeypatch.setenv("DATABASE_URL", legacy_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    planned = laurels("repair", "plan", exits=1)
    assert (planned["missing"], planned["strays"]) == ([], [])
    off = query(
        legacy_url,
        "SELECT id, xp_balance FROM users WHERE xp_balance <> "
        "(SELECT coalesce(sum(amount), 0) FROM xp_transactions WHERE user_id = users.id) ORDER BY 1",
    )
    named = [(each["user_id"], each["found"]) for each in planned["balances"] if each["column"] == "xp_balance"]
    assert named == off
    # Levels stand as they were given, in progress and license that may differ.
    assert {each["column"] for each in planned["balances"]} == {"xp_balance", "credit_balance", "total_xp"}
