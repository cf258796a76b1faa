import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from sqlalchemy import text

from schemas.alerts import AlertSeen
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from sinks import outbox, positions, roles
from sinks.alerts import raise_alerts, resolve_alerts
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from sinks.positions import LogState
from sinks.roles import API, OPERATOR, READONLY, WORKER, apply_roles, revoke_roles
from tests.database.catalog import engine_on
from tests.oracle.academy_log import _RULES, AT, GROUP, OWNER, Academy, presence, result
from tests.services.databases import execute

NOT_PERMITTED = "42501"


@pytest.mark.parametrize("role", [WORKER, API, OPERATOR])
def test_it_may_do_all_that_recording_takes(database_url: str, role: str) -> None:
    connect = connector(database_url, name="role-test")

    def connect_as_role() -> Connection:
        connection = connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        return connection

    academy = Academy(database_url)
    academy.ledger = Ledger(connect_as_role, _RULES, Identity(GROUP, OWNER))
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 1), result(2, 10, 2), b"no event")
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 2, revision=2))
    academy.tell(SESSION_ATTENDANCE, presence(1, 20), presence(1, 21))
    academy.tell(SESSION_ATTENDANCE, presence(1, 20, "absent", revision=2))
    command = {"command_id": "c", "user_id": 1, "specialization": "PLAYER", "new_level": 4, "occurred_at": AT}
    academy.tell(LEVEL_COMMANDS, command)
    transfer = {"idempotency_key": "k", "sender_id": 1, "receiver_id": 2, "amount": 5, "occurred_at": AT}
    academy.tell(CREDIT_TRANSFERS, transfer)
    academy.tell(TOURNAMENT_ROSTERS, {"tournament_id": 10, "participants": 2, "finalized_at": AT})
    academy.close()
    with connect_as_role() as connection, connection.cursor() as cursor:
        positions.claim(cursor, GROUP, "next", 1, {("t", 0): LogState("c/t", 0, 0)})
        positions.release(cursor, GROUP, "next")
        rows = outbox.take(cursor, range(outbox.LANES), 1000)
        outbox.delete(cursor, [row.id for row in rows])
        for table in ("reward_receipts", "credit_transfers", "tournament_rosters", "dead_letters"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() != (0,), table
    connection.close()
    assert rows


NOT_FOR_THE_WORKER = [
    "UPDATE users SET role = 'ADMIN'",
    "UPDATE users SET opening_xp = 1",
    "UPDATE users SET email = 'x'",
    "DELETE FROM users",
    "UPDATE sessions SET title = ''",
    "UPDATE semesters SET name = ''",
    "UPDATE specializations SET max_levels = 99",
    "INSERT INTO specialization_levels VALUES ('PLAYER', 9, '', 0)",
    "UPDATE specialization_levels SET xp_needed = 0",
    "UPDATE specialization_progress SET student_id = 2",
    "UPDATE specialization_progress SET opening_xp = 1",
    "DELETE FROM specialization_progress",
    "UPDATE user_licenses SET adopted_skills = NULL",
    "DELETE FROM user_licenses",
    "DELETE FROM tournament_participations",
    "DELETE FROM tournament_badges",
    "UPDATE tournament_badges SET badge_type = 'CHAMPION'",
    "INSERT INTO tournament_rankings (tournament_id, user_id) VALUES (10, 2)",
    "UPDATE credit_transfers SET amount = 1",
    "UPDATE reward_receipts SET \"grant\" = '{}'",
    "DELETE FROM dead_letters",
    "DELETE FROM partition_positions",
    "UPDATE outbox SET messages = ''",
    "DELETE FROM reward_alerts",
    "INSERT INTO rulesets (hash, name, content, published_by) VALUES ('', '', '', '')",
    "UPDATE rulesets SET active = false",
    "UPDATE audit_log SET actor = ''",
    "DELETE FROM audit_log",
    "SELECT secret_hash FROM api_tokens",
    "INSERT INTO api_tokens VALUES ('q', '', '', 'admin', '')",
    "DELETE FROM migration_removed_rows",
    "UPDATE alembic_version SET version_num = '0001'",
    "ALTER TABLE xp_transactions DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only_xp_transactions ON xp_transactions",
    "CREATE TABLE mine (id int)",
    "SELECT setval('reward_receipts_seq', 1)",
    "SET session_replication_role = 'replica'",
]


@pytest.mark.parametrize("statement", NOT_FOR_THE_WORKER)
def test_the_worker_may_not(world: Connection, statement: str) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE laurels_worker")
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(statement)
    assert refused.value.pgcode == NOT_PERMITTED


def test_the_api_keeps_tokens_and_publishes_rulesets(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE laurels_api")
        cursor.execute("SELECT secret_hash FROM api_tokens")
        cursor.execute("UPDATE api_tokens SET revoked_at = now()")
        cursor.execute("UPDATE rulesets SET active = false")
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute("UPDATE api_tokens SET role = 'admin'")
    assert refused.value.pgcode == NOT_PERMITTED


def test_an_operator_publishes_rulesets_and_keeps_no_tokens(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE laurels_operator")
        cursor.execute("UPDATE rulesets SET active = false")
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute("SELECT secret_hash FROM api_tokens")
    assert refused.value.pgcode == NOT_PERMITTED


def test_readonly_reads_all_but_secrets_and_writes_nothing(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {READONLY}")
        for table in roles.metadata.tables:
            cursor.execute(f"SELECT {roles.SECRETS.get(table, '*')} FROM {table}")
        cursor.execute(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
            "WHERE grantee = %s AND privilege_type <> 'SELECT'",
            (READONLY,),
        )
        assert cursor.fetchall() == []


def test_what_was_granted_by_hand_is_taken_away_again(database_url: str) -> None:
    execute(database_url, "GRANT UPDATE ON users TO laurels_readonly; GRANT ALL ON xp_transactions TO laurels_worker")
    with engine_on(database_url).begin() as connection:
        assert apply_roles(connection) == []
        granted = connection.execute(
            text(
                "SELECT has_table_privilege('laurels_readonly', 'users', 'UPDATE'), "
                "has_table_privilege('laurels_worker', 'xp_transactions', 'DELETE'), "
                "has_table_privilege('laurels_worker', 'xp_transactions', 'INSERT')"
            )
        ).one()
    assert tuple(granted) == (False, False, True)


def test_on_the_way_down_the_roles_lose_everything(database_url: str) -> None:
    with engine_on(database_url).begin() as connection:
        revoke_roles(connection)
        left = connection.execute(
            text("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = ANY (:roles)"),
            {"roles": list(roles.ROLES)},
        ).scalar_one()
    assert left == 0


def test_where_roles_cannot_be_created_an_administrator_is_told_how(
    database_url: str, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    missing = f"{namespace.rstrip('-')}_worker"
    monkeypatch.setattr(roles, "ROLES", (missing, API, READONLY))
    with engine_on(database_url).connect() as connection:
        connection.execute(text("SET LOCAL ROLE laurels_readonly"))  # may not create roles
        assert roles._create(connection, missing) is False
        connection.execute(text("RESET ROLE"))
        monkeypatch.setattr(roles, "_create", lambda _connection, role: role != missing)
        (line,) = apply_roles(connection)
        connection.rollback()
    assert f"CREATE ROLE {missing} NOLOGIN" in line


def test_the_worker_raises_and_resolves_alerts(world: Connection) -> None:
    seen = AlertSeen(kind="INV-R01", subject="user 2", expected="1", found="2")
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE laurels_worker")
        assert raise_alerts(cursor, [seen]) == 1
        assert resolve_alerts(cursor, [(seen.kind, seen.subject)]) == 1
