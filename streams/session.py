"""Transactions over one connection that is made anew where it is lost."""

import time
from collections.abc import Callable
from typing import Final

import psycopg2
import structlog
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sinks.database import Connect, Verdict, classify
from streams.backoff import Backoff

LONGEST_SECONDS: Final = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Session:
    """One connection for one thread at a time, made anew where it is lost; waits for Postgres as long as that takes."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def transact(self, work: Callable[[Cursor], None]) -> None:
        """Do the work in a transaction, again and again while Postgres is not able to."""
        backoff = Backoff(most=LONGEST_SECONDS)
        while True:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                with self._connection, self._connection.cursor() as cursor:
                    work(cursor)
            except psycopg2.Error as error:
                self.close()
                if classify(error) is not Verdict.RETRY:
                    raise
                log.warning("a transaction waits for Postgres", sqlstate=error.pgcode)
                time.sleep(backoff.next_seconds())
            else:
                return

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
