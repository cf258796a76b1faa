"""`laurels doctor` finds what is not well and says how to mend it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from msgspec import json
from typer.testing import CliRunner

from ops.checks.finding import Finding
from ops.checks.kafka import NEEDED_APIS, check_apis, check_kafka
from ops.checks.machine import check_disk, check_packages, check_python, check_variables
from ops.checks.postgres import check_postgres, check_role, check_version
from ops.cli import build_app
from ops.topics import create_topics
from schemas.settings import SECRETS, VARIABLES, Settings
from sinks.condition import Role
from tests.services.databases import execute


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (check_python((3, 11)), "well"),
        (check_python((3, 14)), "well"),
        (check_python((3, 10)), "failed"),
        (check_python((3, 15)), "failed"),
        (check_packages(), "well"),
        (check_variables({"LAURELS_HTTP_PORT", "PATH", "DATABASE_URL_FILE"}), "well"),
        (check_variables({"LAURELS_HTPP_PORT"}), "warning"),
        (check_disk(100 * 1024**3), "well"),
        (check_disk(5 * 1024**3), "warning"),
        (check_disk(1024), "failed"),
        (check_version(14), "well"),
        (check_version(13), "failed"),
        (check_role(Role("o", superuser=False, worker=False, owner=True)), "well"),
        (check_role(Role("w", superuser=False, worker=True, owner=False)), "well"),
        (check_role(Role("s", superuser=True, worker=True, owner=True)), "warning"),
        (check_role(Role("x", superuser=False, worker=False, owner=False)), "failed"),
        (check_apis({api: version for api, (_, version) in NEEDED_APIS.items()}), "well"),
        (check_apis({0: 3}), "failed"),
    ],
)
def test_what_is_not_well_comes_with_its_mend(finding: Finding, state: str) -> None:
    assert finding.state == state
    assert bool(finding.mend) == (state != "well")


def test_a_misspelt_variable_is_told_from_the_one_it_may_mean() -> None:
    assert "may mean LAURELS_HTTP_PORT" in check_variables({"LAURELS_HTPP_PORT"}).mend


def test_a_migrated_database_is_well(database_url: str) -> None:
    found = by_name(check_postgres(Settings(database=database_url)))
    assert found["migrations"].state == found["schema"].state == "well"


def test_drift_is_found_and_named(database_url: str) -> None:
    execute(database_url, "ALTER TABLE credit_transfers DROP CONSTRAINT uq_credit_transfers_sender_key")
    execute(database_url, "ALTER TABLE dead_letters ADD COLUMN mine text")
    found = by_name(check_postgres(Settings(database=database_url)))["schema"]
    assert found.state == "failed"
    assert "mine" in found.found


def test_a_database_that_is_not_migrated_is_told_to_migrate(legacy_url: str) -> None:
    found = by_name(check_postgres(Settings(database=legacy_url)))["migrations"]
    assert found.state == "failed"
    assert "laurels migrate" in found.mend


def test_services_that_do_not_answer_are_findings_without_secrets() -> None:
    (postgres,) = check_postgres(Settings(database="postgresql://u:hunter2@127.0.0.1:1/db"))
    (kafka,) = check_kafka(Settings(kafka="127.0.0.1:1"))
    assert postgres.state == kafka.state == "failed"
    assert "hunter2" not in postgres.found


def test_missing_topics_are_named_and_created_ones_are_well(real_kafka: str, namespace: str) -> None:
    settings = Settings(kafka=real_kafka, topic_prefix=namespace, partitions=2)
    missing = by_name(check_kafka(settings))["topics"]
    assert missing.state == "failed"
    assert missing.mend == "laurels topics"
    create_topics(settings)
    assert {finding.state for finding in check_kafka(settings)} == {"well"}
    more = by_name(check_kafka(settings.model_copy(update={"partitions": 3})))
    assert more["topic level-commands"].state == "warning"
    assert "2 partitions, LAURELS_PARTITIONS says 3" in more["topic level-commands"].found


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, dict[str, object]]]:
    for name in [*VARIABLES, *(f"{secret}_FILE" for secret in SECRETS)]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run() -> tuple[int, dict[str, object]]:
        arguments = ["doctor", "--json"]
        done = CliRunner().invoke(build_app(arguments), arguments)
        return done.exit_code, json.decode(done.stdout)

    return run


def test_nothing_given_is_a_warning_and_a_wrong_setting_a_failure(
    doctor: Callable[[], tuple[int, dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = doctor()
    assert (code, said["well"]) == (0, True)
    monkeypatch.setenv("LAURELS_LOG_LEVEL", "shouting")
    code, said = doctor()
    assert (code, said["well"]) == (1, False)
    assert "LAURELS_LOG_LEVEL" in str(said["findings"])


def test_a_worker_without_its_role_is_told_to_ask_for_it(database_url: str) -> None:
    execute(database_url, "CREATE ROLE laurels_test_stranger LOGIN PASSWORD 'x'")
    try:
        separator = "&" if "?" in database_url else "?"
        url = f"{database_url}{separator}user=laurels_test_stranger&password=x"
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            execute(url, "SELECT count(*) FROM users")
        role = by_name(check_postgres(Settings(database=url)))["Postgres role"]
        assert (role.state, role.mend) == ("failed", "GRANT laurels_worker TO laurels_test_stranger")
    finally:
        execute(database_url, "DROP ROLE laurels_test_stranger")
