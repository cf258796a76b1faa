"""Connections to Postgres for the hot path, and the one place that classifies its errors."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import register_default_jsonb

Connect = Callable[[], Connection]

_RETRY_CLASSES: Final = frozenset({"08", "40", "53", "55", "57", "58"})
_RETRY_STATES: Final = frozenset({"25P03", "25006"})
_EVENT_CLASSES: Final = frozenset({"22", "23"})

NOT_MIGRATED: Final = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)
"""How a statement of ours fails where a migration is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The server's own bounds on a session, so that a client that is stuck or gone cannot hold locks."""

    connect_seconds: int = 5
    statement_ms: int = 30_000
    lock_ms: int = 10_000
    idle_in_transaction_ms: int = 15_000


class Verdict(Enum):
    """What a database error asks of whoever meets it."""

    RETRY = "the database is not able just now"
    EVENT = "the database refuses what the event asks for"
    STOP = "nobody foresaw this"


def classify(error: psycopg2.Error) -> Verdict:
    """Tell a failing database from a refused event, by SQLSTATE alone."""
    state = error.pgcode
    if state is None:
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Verdict.RETRY if lost else Verdict.STOP
    if state[:2] in _RETRY_CLASSES or state in _RETRY_STATES:
        return Verdict.RETRY
    return Verdict.EVENT if state[:2] in _EVENT_CLASSES else Verdict.STOP


def connector(url: str, *, name: str, timeouts: Timeouts | None = None) -> Connect:
    """A function that opens a connection to `url`, bounded by `timeouts` and visible to operators as `name`.

    JSON is read by msgspec, several times faster than by psycopg2. Without JIT: what it compiles for is a guess at how
    many elements a grant's JSON has, and compiling took longer than the whole query.
    """
    bounds = timeouts or Timeouts()
    options = (
        f"-c statement_timeout={bounds.statement_ms} -c lock_timeout={bounds.lock_ms} "
        f"-c idle_in_transaction_session_timeout={bounds.idle_in_transaction_ms} -c timezone=UTC "
        "-c jit=off"
    )

    def connect() -> Connection:
        connection = psycopg2.connect(
            url,
            application_name=name,
            options=options,
            connect_timeout=bounds.connect_seconds,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=bounds.statement_ms,
        )
        register_default_jsonb(connection, loads=msgspec.json.decode)
        return connection

    return connect


@contextmanager
def transaction(connect: Connect) -> Iterator[Cursor]:
    """One transaction on a connection of its own: committed at the end, rolled back where something is raised."""
    with closing(connect()) as connection, connection, connection.cursor() as cursor:
        yield cursor
