import msgspec
import pytest
from psycopg2.extensions import connection as Connection

from schemas.cloudevents import MESSAGE_TYPES
from schemas.events import REWARD_ENTRIES
from schemas.messages import ChangedRows, RewardEntry
from sinks.outbox import LANES, OutboxMessage, take


def _announced(connection: Connection) -> list[tuple[int, OutboxMessage, ChangedRows]]:
    with connection.cursor() as cursor:
        rows = take(cursor, range(LANES), 1_000)
    found = []
    for row in rows:
        for message in row.messages:
            value = msgspec.json.decode(message.value, type=RewardEntry)
            assert isinstance(value, ChangedRows)
            found.append((row.lane, message, value))
    return found


CHANGES = [
    ("users", "UPDATE", [1], "UPDATE users SET xp_balance = xp_balance + 1 WHERE id = 1"),
    ("users", "INSERT", [3], "INSERT INTO users (id) VALUES (3)"),
    (
        "xp_transactions",
        "INSERT",
        [2],
        "INSERT INTO xp_transactions (user_id, transaction_type, amount, idempotency_key) VALUES (2, 'GIFT', 5, 'g')",
    ),
    (
        "credit_transactions",
        "INSERT",
        [2],
        "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) VALUES (2, 'GIFT', 5, 'g')",
    ),
    (
        "skill_rewards",
        "INSERT",
        [2],
        """INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded)
        VALUES (2, 'SESSION', 20, 'speed', 1)""",
    ),
    ("tournament_badges", "UPDATE", [1], "UPDATE tournament_badges SET revoked_at = now()"),
    ("tournament_badges", "DELETE", [1], "DELETE FROM tournament_badges"),
    ("tournament_participations", "UPDATE", [1, 2], "UPDATE tournament_participations SET user_id = 2"),
    ("session_attendances", "DELETE", [1], "DELETE FROM session_attendances"),
    ("specialization_progress", "UPDATE", [1], "UPDATE specialization_progress SET total_xp = 0"),
    ("user_licenses", "INSERT", [2], "INSERT INTO user_licenses (user_id, specialization_type) VALUES (2, 'COACH')"),
    ("credit_transfers", "UPDATE", [1, 2], "UPDATE credit_transfers SET amount = 6"),
    (
        "reward_receipts",
        "INSERT",
        [2],
        """INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, "grant", occurred_at)
        VALUES ('x', 9, 2, 1, 'event', 'y', '{}', now())""",
    ),
]


@pytest.mark.parametrize(
    ("table", "operation", "user_ids", "statement"), CHANGES, ids=[f"{table}-{what}" for table, what, *_ in CHANGES]
)
def test_what_others_change_is_announced(
    world: Connection, table: str, operation: str, user_ids: list[int], statement: str
) -> None:
    with world.cursor() as cursor:
        cursor.execute(statement)
    announced = _announced(world)
    assert {(value.table, value.operation, value.truncated) for *_, value in announced} == {(table, operation, False)}
    assert sorted(user for *_, value in announced for user in value.user_ids) == user_ids
    for lane, message, value in announced:
        assert message.topic == REWARD_ENTRIES
        assert message.type == MESSAGE_TYPES[ChangedRows]
        assert message.key == str(value.user_ids[0])
        assert {user % LANES for user in value.user_ids} == {lane}


@pytest.mark.parametrize("statement", [statement for *_, statement in CHANGES])
def test_the_ledger_announces_its_own_changes_itself(world: Connection, statement: str) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL laurels.recording = 'on'")
        cursor.execute(statement)
    assert _announced(world) == []


def test_the_next_transaction_of_the_session_is_watched_again(world: Connection) -> None:
    with world, world.cursor() as cursor:
        cursor.execute("SET LOCAL laurels.recording = 'on'")
    with world.cursor() as cursor:
        cursor.execute("UPDATE users SET xp_balance = 7 WHERE id = 1")
    assert len(_announced(world)) == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE users SET email = 'x', role = 'COACH'", "UPDATE users SET xp_balance = xp_balance", "DELETE FROM outbox"],
)
def test_what_no_invariant_speaks_of_is_not_announced(world: Connection, statement: str) -> None:
    with world.cursor() as cursor:
        cursor.execute(statement)
    assert _announced(world) == []


def test_a_statement_that_touches_many_users_makes_few_messages(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL laurels.recording = 'on'")
        cursor.execute("INSERT INTO users (id) SELECT generate_series(100, 5099)")
        cursor.execute("SET LOCAL laurels.recording = 'off'")
        cursor.execute("UPDATE users SET credit_balance = 1 WHERE id >= 100")
        cursor.execute("SELECT count(*), sum(message_count) FROM outbox")
        assert cursor.fetchone() == (LANES, 12)
    announced = _announced(world)
    assert sorted(user for *_, value in announced for user in value.user_ids) == list(range(100, 5100))
    assert max(len(value.user_ids) for *_, value in announced) == 500
    assert len({message.id for _, message, _ in announced}) == 12


def test_past_ten_thousand_users_one_message_asks_for_a_sweep(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("INSERT INTO users (id) SELECT generate_series(100, 10100)")
    ((_, message, value),) = _announced(world)
    assert value == ChangedRows(table="users", operation="INSERT", user_ids=[], truncated=True)
    assert message.topic == REWARD_ENTRIES


def test_truncating_asks_for_a_sweep(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("TRUNCATE tournament_badges")
    ((*_, value),) = _announced(world)
    assert value == ChangedRows(table="tournament_badges", operation="TRUNCATE", user_ids=[], truncated=True)


def test_whoever_may_write_a_table_needs_no_right_on_the_outbox(world: Connection, namespace: str) -> None:
    writer = f"{namespace.rstrip('-')}_writer"
    with world.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {writer}; GRANT INSERT ON tournament_badges TO {writer}; SET LOCAL ROLE {writer}")
        cursor.execute(
            "INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (2, 10, 'FAIR', now())"
        )
        cursor.execute("RESET ROLE")
    assert len(_announced(world)) == 1
