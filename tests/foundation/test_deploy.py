"""The compose file, the image and the settings speak of the same things."""

import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psycopg2
import pytest
import yaml

from ops.advised import SHARED_BUFFERS_BYTES, WAL
from ops.cli import COMMANDS
from ops.embedded.kafka import POM
from ops.embedded.postgres import SPEED_OVER_SAFETY, EmbeddedPostgres, find_binaries
from schemas.settings import VARIABLES, Settings
from sinks.migration import migrate_to_head
from tests.services.choice import KAFKA_IMAGE
from tests.services.run import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def values(service: dict[str, Any]) -> dict[str, str]:
    """A service's environment, with the defaults of what compose would put in."""
    return {
        name: re.sub(r"\$\{\w+:-(\w+)\}", r"\1", str(value)) for name, value in service.get("environment", {}).items()
    }


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_a_setting_and_every_value_is_right(name: str) -> None:
    given = values(OURS[name])
    assert set(given) <= set(VARIABLES)
    settings = Settings(**{VARIABLES[variable]: value for variable, value in given.items()})  # type: ignore[arg-type]
    assert set(settings.shown()) >= set(given) - {"LAURELS_HTTP_PORT"}


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command_that_there_is(name: str) -> None:
    assert OURS[name]["command"][0] in {command.name for command in COMMANDS}


def test_services_find_postgres_and_kafka_where_they_listen() -> None:
    kafka = SERVICES["kafka"]["environment"]
    advertised = re.findall(r"(\w+)://([^,]*)", kafka["KAFKA_ADVERTISED_LISTENERS"])
    listening = dict(re.findall(r"(\w+)://(:\d+)", kafka["KAFKA_LISTENERS"]))
    for listener, address in advertised:
        assert address.endswith(listening[listener])
    for service in OURS.values():
        given = values(service)
        if "KAFKA_BOOTSTRAP_SERVERS" in given:
            assert given["KAFKA_BOOTSTRAP_SERVERS"] == dict(advertised)["INSIDE"]
        if "DATABASE_URL" in given:
            assert given["DATABASE_URL"].endswith("@postgres:5432/laurels")
    assert SERVICES["kafka"]["ports"] == [f"{dict(advertised)['OUTSIDE']}:19092"]


@pytest.mark.parametrize(("name", "variable"), [("worker", "LAURELS_METRICS_PORT"), ("api", "LAURELS_HTTP_PORT")])
def test_health_is_asked_where_it_is_answered(name: str, variable: str) -> None:
    port = OURS[name]["environment"][variable]
    assert f"127.0.0.1:{port}/livez" in OURS[name]["healthcheck"]["test"][-1]
    assert OURS[name]["environment"][variable.replace("PORT", "HOST")] == "0.0.0.0"  # noqa: S104
    for published in OURS[name].get("ports", []):
        assert published.endswith(f":{port}:{port}")


def test_every_service_that_stays_has_a_healthcheck_and_the_others_are_waited_for() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (service["restart"] != "no"), name
    for name in ("worker", "api"):
        awaited = {each: how["condition"] for each, how in SERVICES[name]["depends_on"].items()}
        assert awaited == dict.fromkeys(("migrate", "topics"), "service_completed_successfully")


def test_workers_scale() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] > 1
    assert "container_name" not in SERVICES["worker"]
    assert "ports" not in SERVICES["worker"]


def test_postgres_is_set_as_advised() -> None:
    given = dict(argument.split("=") for argument in SERVICES["postgres"]["command"] if "=" in argument)
    assert given == WAL | {"shared_buffers": f"{SHARED_BUFFERS_BYTES // 1024**3}GB"}


def test_every_image_is_pinned_and_kafka_is_the_same_everywhere() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^ARG PYTHON=(.*)$", DOCKERFILE, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    found = ET.parse(POM).find("{*}dependencies/{*}dependency/{*}version")  # noqa: S314
    assert found is not None
    assert f"apache/kafka:{found.text}" == SERVICES["kafka"]["image"] == KAFKA_IMAGE
    assert SERVICES["worker"]["image"] == f"laurels:{PROJECT['project']['version']}"


def test_the_image_has_every_package_and_runs_as_nobody_special() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)[-1] != "root"
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert set(sources.split()) <= admitted


@pytest.fixture
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="laurels-") as name:
        Path(name).chmod(0o755)  # Postgres may have to run as somebody else
        postgres = EmbeddedPostgres(Path(name), settings=SPEED_OVER_SAFETY)
        try:
            yield postgres.start()
        finally:
            postgres.stop()


def test_the_worker_logs_in_with_its_role_and_nothing_more(server: str) -> None:
    binaries = next(folder for folder in find_binaries() if (folder / "psql").exists())
    host, _, port = server.rpartition("@")[2].removesuffix("/laurels").rpartition(":")
    environ = {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": host,
        "PGPORT": port,
        "PGPASSWORD": server.split(":")[2].partition("@")[0],
        "POSTGRES_USER": "laurels",
        "POSTGRES_DB": "laurels",
        "WORKER_PASSWORD": "it's w",
        "API_PASSWORD": "a",
    }
    subprocess.run([ROOT / "deploy" / "postgres" / "logins.sh"], env=environ, check=True, capture_output=True)
    migrate_to_head(server)
    with closing(psycopg2.connect(server, user="worker", password="it's w")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO users (id) VALUES (5)")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("DELETE FROM xp_transactions")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("CREATE TABLE mine ()")
