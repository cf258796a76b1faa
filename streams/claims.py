"""Claims partitions in Postgres when the consumer group assigns them, and gives them up on a clean leave."""

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from typing import Final

import psycopg2
import structlog
from psycopg2.errors import LockNotAvailable

from schemas.errors import DatabaseUnavailable, LaurelsError
from sinks import positions
from sinks.database import Connect, Verdict, classify, transaction
from sinks.ledger import Identity
from sinks.positions import LogState, Partition, Position
from streams.backoff import Backoff
from streams.logs import Logs

CLAIM_SECONDS: Final = 50.0
"""How long to try: longer than the server lets a stuck worker hold the rows, shorter than Faust waits for a seek."""

LOOK_UP_SECONDS: Final = 15.0
"""How long to ask Kafka which logs these are: brokers come back, topics that are gone do not."""
BLOCKED_SECONDS: Final = 5.0
"""How long a batch in flight may hold its positions against whoever was assigned them: many times what one takes."""

log = structlog.get_logger()


class Claims:
    """Claims on behalf of one worker. Every method blocks."""

    def __init__(self, connect: Connect, identity: Identity, logs: Logs) -> None:
        self._connect = connect
        self._identity = identity
        self._logs = logs

    def take(self, partitions: Iterable[Partition], generation: int) -> dict[Partition, Position]:
        """Claim the partitions, waiting for batches in flight there; where to read on in each."""
        wanted = list(partitions)
        deadline = time.monotonic() + CLAIM_SECONDS
        backoff = Backoff(most=2.0)
        while True:
            # Looked up anew for every attempt: a claim on what the logs were a minute ago may miss a hole.
            logs = self._look_up(wanted)
            try:
                return self._claim(logs, generation)
            except psycopg2.Error as error:
                pause = backoff.next_seconds()
                if classify(error) is not Verdict.RETRY or time.monotonic() + pause > deadline:
                    message = f"the partitions cannot be claimed in Postgres: {error}"
                    raise DatabaseUnavailable(message) from error
                log.warning("claim waits for Postgres", sqlstate=error.pgcode)
                time.sleep(pause)

    def _look_up(self, wanted: Collection[Partition]) -> dict[Partition, LogState]:
        deadline = time.monotonic() + LOOK_UP_SECONDS
        backoff = Backoff(most=2.0)
        while True:
            try:
                return self._logs.states(wanted)
            except LaurelsError as error:
                pause = backoff.next_seconds()
                if time.monotonic() + pause > deadline:
                    raise
                log.warning("claim waits for Kafka", error=str(error))
                time.sleep(pause)

    def _claim(self, logs: Mapping[Partition, LogState], generation: int) -> dict[Partition, Position]:
        group, owner = self._identity.group, self._identity.owner
        with closing(self._connect()) as connection:
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{BLOCKED_SECONDS:g}s",))
                    return positions.claim(cursor, group, owner, generation, logs)
            except LockNotAvailable:
                with connection, connection.cursor() as cursor:
                    cut = positions.cut_off(cursor, group, logs, BLOCKED_SECONDS)
                log.warning("sessions that held our positions for too long were cut off", sessions=cut)
                raise

    def release(self) -> None:
        """Give up what is held, so that whoever looks sees partitions without an owner."""
        with transaction(self._connect) as cursor:
            positions.release(cursor, self._identity.group, self._identity.owner)
