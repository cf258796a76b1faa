import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sinks.roles import ROLES

LEDGERS = ("xp_transactions", "credit_transactions", "skill_rewards", "reward_receipts", "license_progressions")
HISTORY_EDITED = "LR001"
NOT_PERMITTED = "42501"

OPERATIONS = {
    "UPDATE": "UPDATE {table} SET recorded_at = now() WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
}


@pytest.mark.parametrize("role", ["owner", "replica", *ROLES])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("table", LEDGERS)
def test_history_is_never_edited(world: Connection, table: str, operation: str, role: str) -> None:
    with world.cursor() as cursor:
        if role == "replica":
            cursor.execute("SET LOCAL session_replication_role = 'replica'")
        elif role != "owner":
            cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(OPERATIONS[operation].format(table=table))
    assert refused.value.pgcode == (NOT_PERMITTED if role in ROLES else HISTORY_EDITED)


@pytest.mark.parametrize("setting", ["recording", "erasing"])
@pytest.mark.parametrize("table", LEDGERS)
def test_no_setting_lets_history_be_edited(world: Connection, table: str, setting: str) -> None:
    with world.cursor() as cursor:
        cursor.execute(f"SET LOCAL laurels.{setting} = 'on'")
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(f"DELETE FROM {table}")
    assert refused.value.pgcode == HISTORY_EDITED


def test_an_upsert_cannot_edit_history(world: Connection) -> None:
    with world.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.execute(
            "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) "
            "VALUES (1, 'X', 1, 'tournament_10_reward_1') "
            "ON CONFLICT (idempotency_key) DO UPDATE SET amount = EXCLUDED.amount"
        )
    assert refused.value.pgcode == HISTORY_EDITED


def test_truncating_what_ledgers_refer_to_does_not_reach_them(world: Connection) -> None:
    with world.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.execute("TRUNCATE user_licenses CASCADE")
    assert refused.value.pgcode == HISTORY_EDITED


def test_an_adopted_receipt_remembers_its_payload_once(world: Connection) -> None:
    remember = "UPDATE reward_receipts SET payload_hash = %s WHERE event_key = 'session_20_presence_1'"
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE laurels_worker")
        cursor.execute(remember, (b"first",))
        assert cursor.rowcount == 1
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(remember, (b"second",))
    assert refused.value.pgcode == HISTORY_EDITED


def test_no_other_receipt_takes_another_payload(world: Connection) -> None:
    with world.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.execute("UPDATE reward_receipts SET payload_hash = 'z' WHERE event_key = 'tournament_10_result_1'")
    assert refused.value.pgcode == HISTORY_EDITED


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("xp_transactions", "description"),
        ("credit_transactions", "description"),
        ("license_progressions", "advancement_reason"),
    ],
)
def test_words_can_be_blanked_only_while_erasing_and_only_by_the_owner(
    world: Connection, table: str, column: str
) -> None:
    attempts = [
        ("", f"UPDATE {table} SET {column} = NULL", HISTORY_EDITED),
        ("SET LOCAL laurels.erasing = 'on'", f"UPDATE {table} SET {column} = 'better words'", HISTORY_EDITED),
        ("SET LOCAL laurels.erasing = 'on'", f"UPDATE {table} SET {column} = NULL, receipt_seq = 7", HISTORY_EDITED),
        (
            "SET LOCAL laurels.erasing = 'on'; SET LOCAL ROLE laurels_worker",
            f"UPDATE {table} SET {column} = NULL",
            NOT_PERMITTED,
        ),
    ]
    for setting, statement, sqlstate in attempts:
        with world.cursor() as cursor:
            cursor.execute(f"SELECT 1; {setting}")
            with pytest.raises(psycopg2.Error) as refused:
                cursor.execute(statement)
        assert refused.value.pgcode == sqlstate, statement
        world.rollback()
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL laurels.erasing = 'on'")
        cursor.execute(f"UPDATE {table} SET {column} = NULL")
        assert cursor.rowcount == 1
