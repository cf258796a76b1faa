"""The ledger as its callers see it: retries what a failing database asks for, isolates what one event is to blame for."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import msgspec
import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import register_default_jsonb

from schemas.errors import DatabaseUnavailable, MustStop
from schemas.rewards import Levels, Refused
from schemas.ruleset import Ruleset
from sinks import positions
from sinks.batch import Batch, Claim, Recorded
from sinks.database import Connect, Verdict, classify
from sinks.failpoints import failpoint
from sinks.ledger.rules import Rules
from sinks.ledger.rulesets import fetch_active_ruleset, fetch_levels
from sinks.ledger.sources import KnownSources
from sinks.ledger.transaction import Decided, Identity, record_in_transaction
from sinks.prepared import PLAN_ONCE

POLICY_SECONDS: Final = 1.0
"""How long the active ruleset and the levels may be remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Bounds on waiting for a database that cannot serve: for so long in all, pausing from `first` up to `most`."""

    seconds: float = 60.0
    first_pause_seconds: float = 0.05
    most_pause_seconds: float = 2.0


class _AnswerLost(Exception):
    """COMMIT failed: where the connection was lost, nobody knows yet whether Postgres had done it."""

    def __init__(self, recorded: Recorded, error: psycopg2.Error) -> None:
        super().__init__(str(error))
        self.recorded = recorded
        self.error = error


class Ledger:
    """Records batches over one connection of its own. Not to be shared between threads."""

    def __init__(
        self,
        connect: Connect,
        rules: Rules,
        identity: Identity,
        *,
        retry: RetryPolicy | None = None,
        on_retry: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._connect = connect
        self._rules = rules
        self._identity = identity
        self._retry = retry or RetryPolicy()
        self._on_retry = on_retry
        self._connection: Connection | None = None
        self._known = KnownSources()
        self._expect_duplicates = False
        self._policy: tuple[float, Levels, Ruleset] | None = None

    def close(self) -> None:
        """Give the connection back. The ledger opens another one if it is used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def record(self, batch: Batch) -> Recorded:
        """Record `batch`, whole and once, and say how each delivery came out.

        Blocks until it is committed. Raises `Fenced` or `SteppedOver` with nothing written, `DatabaseUnavailable` when
        the database stayed away for as long as the policy allows, and `MustStop` for what nobody foresaw.
        """
        try:
            return self._record_retrying(batch)
        except psycopg2.Error as error:
            if classify(error) is not Verdict.EVENT:
                message = f"Postgres answered something unforeseen (SQLSTATE {error.pgcode}): {error}"
                raise MustStop(message) from error
            return self._isolate(batch, error)

    def _isolate(self, batch: Batch, error: psycopg2.Error) -> Recorded:
        """Find the event that the database refuses by halving the batch: its neighbours are recorded as they are."""
        if len(batch.deliveries) > 1:
            first, second = _halves(batch)
            return self.record(first) + self.record(second)
        if not batch.deliveries or isinstance(batch.deliveries[0].parsed, Refused):
            message = f"Postgres refuses a batch without an event to blame (SQLSTATE {error.pgcode}): {error}"
            raise MustStop(message) from error
        if batch.rule_change is not None:
            message = f"Postgres refuses an adjustment (SQLSTATE {error.pgcode}): {error}"
            raise MustStop(message) from error
        (delivery,) = batch.deliveries
        diagnosis = error.diag.constraint_name or error.diag.message_primary or "no diagnosis"
        refusal = Refused("refused_by_database", f"SQLSTATE {error.pgcode}: {diagnosis}")
        return self._record_retrying(replace(batch, deliveries=[msgspec.structs.replace(delivery, parsed=refusal)]))

    def _record_retrying(self, batch: Batch) -> Recorded:
        deadline = time.monotonic() + self._retry.seconds
        pause = self._retry.first_pause_seconds
        unsure: Recorded | None = None
        while True:
            try:
                if unsure is not None and batch.claims and self._reached(batch.claims):
                    return unsure
                return self._record_once(batch)
            except _AnswerLost as lost:
                unsure, error = lost.recorded, lost.error
            except psycopg2.Error as failed:
                error = failed
            if classify(error) is not Verdict.RETRY:
                raise error
            if time.monotonic() + pause > deadline:
                message = f"Postgres did not serve for {self._retry.seconds:g} s: {error}"
                raise DatabaseUnavailable(message) from error
            self._on_retry(error.pgcode or "connection")
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, self._retry.most_pause_seconds)

    def _record_once(self, batch: Batch) -> Recorded:
        connection = self._opened()
        try:
            basis = self._basis(connection)
            missing = self._known.missing(batch.deliveries)
            with connection.cursor() as cursor:
                recorded = record_in_transaction(
                    cursor,
                    batch,
                    basis,
                    self._identity,
                    missing,
                    expect_duplicates=self._expect_duplicates or batch.checkpoint is not None,
                )
        except BaseException:
            self._roll_back()
            raise
        failpoint("before_commit")
        try:
            connection.commit()
        except psycopg2.Error as error:
            self._roll_back()
            raise _AnswerLost(recorded, error) from error
        failpoint("after_commit")
        self._known.remember(missing)
        self._expect_duplicates = 2 * (recorded.duplicates + recorded.stale) > len(batch.deliveries)
        return recorded

    def _reached(self, claims: Sequence[Claim]) -> bool:
        with self._opened() as connection, connection.cursor() as cursor:
            return positions.reached(cursor, self._identity.group, self._identity.owner, claims)

    def _opened(self) -> Connection:
        if self._connection is None:
            connection = self._connect()
            with connection, connection.cursor() as cursor:
                # Tells the change-capture triggers that what this session writes announces itself.
                cursor.execute(f"SET laurels.recording = 'on'; {PLAN_ONCE}")
            register_default_jsonb(connection, loads=msgspec.json.decode)
            # It may be another server's, which has not heard of all that the one before it had.
            self._known.forget()
            self._connection = connection
        return self._connection

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
        except psycopg2.Error:
            self.close()
        if connection.closed:
            self._connection = None

    def _basis(self, connection: Connection) -> Decided:
        now = time.monotonic()
        if self._policy is None or now - self._policy[0] > POLICY_SECONDS:
            with connection, connection.cursor() as cursor:
                self._policy = (now, fetch_levels(cursor), fetch_active_ruleset(cursor))
        _, levels, ruleset = self._policy
        return Decided(self._rules, levels, ruleset)


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """Two batches that come to the same, each claiming its own stretch of the partitions."""
    middle = len(batch.deliveries) // 2
    ends = {
        (d.coordinates.topic, d.coordinates.partition): d.coordinates.offset + 1
        for d in islice(batch.deliveries, middle)
        if d.coordinates is not None
    }
    first: list[Claim] = []
    second: list[Claim] = []
    for claim in batch.claims:
        end = ends.get((claim.topic, claim.partition), claim.from_offset)
        if end > claim.from_offset:
            first.append(replace(claim, next_offset=end))
        if end < claim.next_offset:
            second.append(replace(claim, from_offset=end))
    # The first half alone is no place to go on from: its deliveries are not the first of every partition.
    unmoved = batch.checkpoint and replace(batch.checkpoint, next_offsets={})
    return (
        replace(batch, deliveries=batch.deliveries[:middle], claims=first, checkpoint=unmoved),
        replace(batch, deliveries=batch.deliveries[middle:], claims=second),
    )
