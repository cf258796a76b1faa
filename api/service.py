"""What serving takes: pools of connections, the producer, the gate; opened once and closed at the end."""

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Final, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fastapi import Depends, Request
from psycopg2.extensions import cursor as Cursor

from api.auth import Gate
from api.outlet import Outlet
from api.pool import Pool, Session
from api.telemetry import HttpTelemetry
from schemas.client import Publisher
from schemas.settings import Settings
from sinks.database import Timeouts, connector
from sinks.ledger import Identity, Ledger, RetryPolicy
from sinks.ledger.rulesets import fetch_levels
from streams import rules

R = TypeVar("R")

PUBLISH_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 8.0
"""Shorter than a request may take: who waits is told in time that the database cannot serve."""
REMEMBERED_SECONDS: Final = 5.0
ASK_SECONDS: Final = 2.0
MOST_STATEMENT_MS: Final = 15_000


class Service:
    """Everything that handlers use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version = version("laurels")
        self.telemetry = HttpTelemetry()
        self.connect = connector(settings.database_url, name="laurels api", timeouts=_timeouts(settings))
        self.sessions = Pool(lambda: Session(self.connect), settings.http_connections, "session")
        self.ledgers = Pool(self._open_ledger, (settings.http_connections + 1) // 2, "ledger")
        self.outlet = Outlet(self._open_publisher)
        self.gate = Gate(settings, self.sessions)
        self._admin: AdminClient | None = None
        self._specializations: tuple[float, frozenset[str]] | None = None

    def close(self) -> None:
        """End what is being done, and close everything."""
        self.outlet.close()
        self.sessions.close()
        self.ledgers.close()

    async def read(self, work: Callable[[Cursor], R]) -> R:
        """Do `work`, which changes nothing."""
        return await self.sessions.run(lambda session: session.read(work))

    async def write(self, work: Callable[[Cursor], R]) -> R:
        """Do `work` and commit it."""
        return await self.sessions.run(lambda session: session.write(work))

    async def specializations(self) -> frozenset[str]:
        """Those of the database, as they were a moment ago."""
        now = time.monotonic()
        if self._specializations is None or now - self._specializations[0] > REMEMBERED_SECONDS:
            self._specializations = (now, frozenset(await self.read(fetch_levels)))
        return self._specializations[1]

    def ask_brokers(self) -> str:
        """What the brokers say of themselves; raises where they say nothing. Blocks."""
        if self._admin is None:
            self._admin = AdminClient(self.settings.librdkafka())
        try:
            found = self._admin.list_topics(timeout=ASK_SECONDS)
        except KafkaException as error:
            raise ConnectionError(str(error)) from error
        finally:
            # Hands on what the client logged, which would gather otherwise.
            self._admin.poll(0)
        return f"{len(found.brokers)} brokers"

    def _open_ledger(self) -> Ledger:
        return Ledger(self.connect, rules, Identity("", ""), retry=RetryPolicy(seconds=RETRY_SECONDS))

    def _open_publisher(self) -> Publisher:
        settings = self.settings
        return Publisher(
            settings.bootstrap_servers,
            topic_prefix=settings.topic_prefix,
            timeout_seconds=PUBLISH_SECONDS,
            config=settings.librdkafka(),
        )


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        connect_seconds=settings.database_connect_timeout_seconds,
        statement_ms=min(settings.database_statement_timeout_ms, MOST_STATEMENT_MS),
        lock_ms=settings.database_lock_timeout_ms,
        idle_in_transaction_ms=settings.database_idle_in_transaction_timeout_ms,
    )


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]
