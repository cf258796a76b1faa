"""What every test may ask for. Pure tests ask for nothing, and no service is started for them."""

import os
import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from tests.services import run
from tests.services.databases import cloned


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
