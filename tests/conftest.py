"""What every test may ask for. Pure tests ask for nothing, and no service is started for them."""

import os
import secrets
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from tests.services import run
from tests.services.databases import cloned

# The same examples on every run, and none is too slow for a machine that is busy: no run fails where the one before held.
settings.load_profile("ci")

STARTS_PROCESSES: Final = ("tests/foundation", "tests/bench", "tests/reconciliation", "tests/streams", "tests/api")
"""Where the tests are that take longest, the longest first. They mostly wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it when the others have nothing to do."""

    def turn(item: pytest.Item) -> int:
        folder = item.nodeid.rpartition("/")[0]
        return STARTS_PROCESSES.index(folder) if folder in STARTS_PROCESSES else len(STARTS_PROCESSES)

    items.sort(key=turn)


def pytest_configure(config: pytest.Config) -> None:
    run.begin()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if run.is_owner() and os.environ.get(run.REQUIRE_VARIABLE) and run.obtained("kafka") is None:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{run.REQUIRE_VARIABLE} is set, and no test used Apache Kafka")


def pytest_unconfigure(config: pytest.Config) -> None:
    if run.is_owner():
        run.end()


@pytest.fixture(scope="session")
def postgres() -> run.Service:
    """The run's Postgres."""
    return run.obtain("postgres")


@pytest.fixture(scope="session")
def kafka() -> run.Service:
    """The run's broker, and of which kind it is."""
    return run.obtain("kafka")


@pytest.fixture
def database_url(postgres: run.Service) -> Iterator[str]:
    """A fresh, migrated database."""
    with cloned(postgres, "template") as url:
        yield url


@pytest.fixture
def legacy_url(postgres: run.Service) -> Iterator[str]:
    """A fresh copy of an academy's own database, before Laurels adopts it."""
    with cloned(postgres, "legacy") as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def bootstrap_servers(kafka: run.Service) -> str:
    """Where the run's broker is."""
    return kafka["servers"]


@pytest.fixture
def namespace() -> str:
    """A prefix for this test's topics and groups, which no other test has."""
    return f"t{secrets.token_hex(4)}-"


@pytest.fixture
def real_kafka(kafka: run.Service, request: pytest.FixtureRequest) -> str:
    """Where Apache Kafka is; what the embedded broker cannot do is skipped by name."""
    if kafka["kind"] == "embedded":
        pytest.skip(f"the embedded broker cannot do this: {request.node.name}")
    return kafka["servers"]
