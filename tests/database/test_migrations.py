import threading
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from ops.cli import main
from sinks.migration import MigrationFailed, current_revision, find_drift, migrate_to, migrate_to_head, revisions
from sinks.tables import metadata
from tests.database.catalog import FROM_TABLES, engine_on, rows, schema, table_names
from tests.services.databases import execute


@pytest.fixture(params=["empty", "academy"])
def unmigrated_url(request: pytest.FixtureRequest) -> str:
    if request.param == "academy":
        return str(request.getfixturevalue("legacy_url"))
    url = str(request.getfixturevalue("database_url"))
    execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return url


def test_a_migrated_database_is_exactly_what_the_tables_say(unmigrated_url: str, database_url: str) -> None:
    migrate_to_head(unmigrated_url)
    execute(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with engine_on(database_url).begin() as connection:
        metadata.create_all(connection)
    with engine_on(unmigrated_url).connect() as migrated, engine_on(database_url).connect() as made:
        assert find_drift(migrated) == []
        assert schema(migrated, FROM_TABLES) == schema(made, FROM_TABLES)


def test_drift_is_found(database_url: str) -> None:
    execute(database_url, "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'NOBODY'")
    with engine_on(database_url).connect() as connection:
        assert len(find_drift(connection)) == 1


def test_an_adopted_database_has_the_schema_of_one_that_began_empty(legacy_url: str, database_url: str) -> None:
    migrate_to_head(legacy_url)
    with engine_on(legacy_url).connect() as adopted, engine_on(database_url).connect() as empty:
        ours, theirs = schema(adopted), schema(empty)
    del ours["sequences"], theirs["sequences"]  # they count rows
    assert ours == theirs


def _state(url: str) -> tuple[Any, ...]:
    with engine_on(url).connect() as connection:
        tables = [name for name in table_names(connection) if name != "migration_removed_rows"]
        return schema(connection), _undated(rows(connection, tables))


def _undated(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Without the ids and times that a migration itself gave."""
    for row in found.get("license_progressions", ()):
        if (row["advancement_reason"] or "").startswith("adoption"):
            row["id"] = row["advanced_at"] = row["recorded_at"] = None
    for table in ("reward_receipts", "rulesets"):
        for row in found.get(table, ()):
            row["recorded_at"] = row["published_at"] = None
    return found


def test_from_every_revision_it_goes_down_and_up_again(unmigrated_url: str) -> None:
    before = _state(unmigrated_url)
    for previous, revision in pairwise(["base", *revisions()]):
        migrate_to(unmigrated_url, revision)
        after = _state(unmigrated_url)
        migrate_to(unmigrated_url, previous)
        down = _state(unmigrated_url)
        assert _but_counters(down) == _but_counters(before), revision
        migrate_to(unmigrated_url, revision)
        assert _but_counters(_state(unmigrated_url)) == _but_counters(after), revision
        before = after


def _but_counters(state: tuple[Any, ...]) -> tuple[Any, ...]:
    found_schema, found_rows = state
    # The ruleset is a seed, no migration's.
    # Ids that were handed out are not handed out again; that a counter made anew goes on after them is another test.
    sequences = {name: row for name, row in found_schema["sequences"].items() if not name.endswith("_id_seq")}
    return {**found_schema, "sequences": sequences}, {
        table: found for table, found in found_rows.items() if table not in {"alembic_version", "rulesets"}
    }


def test_all_the_way_down_the_academy_has_every_row_back(legacy_url: str) -> None:
    with engine_on(legacy_url).connect() as connection:
        names = table_names(connection)
        before = rows(connection, names)
    migrate_to_head(legacy_url)
    migrate_to(legacy_url, "base")
    with engine_on(legacy_url).connect() as connection:
        assert [name for name in table_names(connection) if name != "alembic_version"] == names
        assert rows(connection, names) == before


def test_ids_go_on_after_the_highest_one_up_and_down(legacy_url: str) -> None:
    highest = {"user_licenses": 165, "tournament_rankings": 433, "license_progressions": 95}
    migrate_to(legacy_url, "0012")
    migrate_to(legacy_url, "0011")
    with engine_on(legacy_url).begin() as connection:
        for table, last in highest.items():
            assert connection.execute(text(f"SELECT nextval('{table}_id_seq')")).scalar_one() >= last - 1
        new = connection.execute(
            text(
                "INSERT INTO user_licenses (user_id, specialization_type, started_at) VALUES (1, 'INTERNSHIP', now()) "
                "RETURNING id"
            )
        ).scalar_one()
    assert new > highest["user_licenses"]


def test_downgrading_a_database_in_use_says_what_is_lost(database_url: str) -> None:
    execute(
        database_url,
        "INSERT INTO users (id) VALUES (1); "
        'INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, "grant", occurred_at) '
        "VALUES ('tournament_1_result_1', 1, 1, 1, 'event', 'x', '{}', now()); "
        "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) "
        "VALUES (1, 'SESSION_ATTENDANCE', 2, 'session_1_attendance_1')",
    )
    said: list[str] = []
    migrate_to(database_url, "base", said.append)
    text_said = "\n".join(said)
    assert (
        "receipts of recorded events, or payloads remembered for adopted ones (1 rows of reward_receipts)" in text_said
    )
    assert "keys that their rows do not say (1 rows of credit_transactions)" in text_said
    assert "the academy's tables stay, since there are rows in users, credit_transactions" in text_said
    assert "users.email stays nullable, since 1 users have none" in text_said


def test_numbers_too_large_for_an_integer_stop_the_downgrade_with_nothing_changed(database_url: str) -> None:
    execute(database_url, "INSERT INTO users (id, xp_balance) VALUES (1, 3000000000)")
    with pytest.raises(MigrationFailed, match=r"users\.xp_balance holds numbers that an integer cannot"):
        migrate_to(database_url, "0011")
    with engine_on(database_url).connect() as connection:
        assert current_revision(connection) == "0012"


def test_an_interrupted_adoption_goes_on_where_it_stopped(legacy_url: str) -> None:
    # No license can name GOALKEEPER once licenses refer to specializations.
    execute(legacy_url, "UPDATE user_licenses SET specialization_type = 'GOALKEEPER' WHERE id = 1")
    with pytest.raises(MigrationFailed, match="GOALKEEPER"):
        migrate_to_head(legacy_url)
    with engine_on(legacy_url).connect() as connection:
        assert current_revision(connection) == "0012"
    execute(legacy_url, "UPDATE user_licenses SET specialization_type = 'COACH' WHERE id = 1")
    steps: list[str] = []
    migrate_to_head(legacy_url, steps.append)
    assert [step[:4] for step in steps if "applied" in step] == revisions()[12:]


def test_two_migrations_at_once_take_turns(legacy_url: str) -> None:
    steps: list[str] = []
    failures: list[Exception] = []

    def migrate() -> None:
        try:
            migrate_to_head(legacy_url, steps.append)
        except Exception as failure:  # noqa: BLE001 - told by the assertion below
            failures.append(failure)

    both = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert failures == []
    assert sum("applied" in step for step in steps) == len(revisions())


def test_a_missing_table_of_the_academy_is_made(legacy_url: str) -> None:
    execute(legacy_url, "DROP TABLE tournament_rankings")
    steps: list[str] = []
    migrate_to(legacy_url, "0001", steps.append)
    assert "  an academy's database, without tournament_rankings: made" in steps
    migrate_to(legacy_url, "base")
    with engine_on(legacy_url).connect() as connection:
        assert "tournament_rankings" not in table_names(connection)
        assert "tournament_badges" in table_names(connection)


def test_the_default_ruleset_is_active_once_and_never_takes_over(database_url: str) -> None:
    execute(database_url, "UPDATE rulesets SET active = false")
    execute(
        database_url,
        "INSERT INTO rulesets (hash, name, content, active, published_by) VALUES ('mine', 'm', '{}', true, 'me')",
    )
    migrate_to_head(database_url)
    with engine_on(database_url).connect() as connection:
        assert connection.execute(text("SELECT hash FROM rulesets WHERE active")).scalars().all() == ["mine"]
        assert connection.execute(text("SELECT count(*) FROM rulesets")).scalar_one() == 2


@pytest.mark.parametrize(("revision", "levels"), [("0003", "0003"), ("head", "head")])
def test_the_command_migrates_to_a_revision(
    legacy_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], revision: str, levels: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", legacy_url)
    with pytest.raises(SystemExit) as exit_:
        main(["migrate", "--to", revision])
    assert exit_.value.code == 0
    assert f"the database is at {levels}" in capsys.readouterr().out
