"""Claims that have to wait for Postgres ask Kafka anew, since its logs may not be what they were."""

from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any, cast

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from schemas.errors import DatabaseUnavailable, LaurelsError
from sinks.ledger import Identity
from sinks.positions import LogState, Partition
from streams import claims
from streams.claims import Claims

HELD = ("session-attendance", 0)


class Trimmed:
    """Logs of which retention takes ten offsets more each time they are looked at."""

    def __init__(self) -> None:
        self.starts = 0

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        self.starts += 10
        return dict.fromkeys(partitions, LogState("cluster/topic", self.starts, 100))


class Away(Trimmed):
    """Logs of a Kafka that does not answer at first."""

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        states = super().states(partitions)
        if self.starts < 30:
            raise LaurelsError("Kafka does not say which cluster it is")
        return states


class NoPause:
    """Whoever waits for nobody."""

    def __init__(self, **_bounds: float) -> None:
        """Take any bounds."""

    def next_seconds(self) -> float:
        return 0.0


def failing(errors: list[psycopg2.Error], connect: Callable[[], Connection]) -> Callable[[], Connection]:
    """A Postgres that does not serve as often as there are errors."""

    def try_to_connect() -> Connection:
        if errors:
            raise errors.pop()
        return connect()

    return try_to_connect


@pytest.fixture
def connect(database_url: str) -> Callable[[], Connection]:
    return lambda: psycopg2.connect(database_url)


def claims_after(
    monkeypatch: pytest.MonkeyPatch,
    *errors: psycopg2.Error,
    connect: Callable[[], Connection],
    logs: Trimmed | None = None,
) -> Claims:
    monkeypatch.setattr(claims, "Backoff", NoPause)
    return Claims(failing(list(errors), connect), Identity("laurels", "me"), cast("Any", logs or Trimmed()))


def test_each_attempt_to_claim_knows_the_logs_as_they_are_then(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Connection]
) -> None:
    away = psycopg2.OperationalError("connection refused")
    claimed = claims_after(monkeypatch, away, away, connect=connect).take([HELD], 1)
    assert claimed[HELD].next_offset == 30
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT next_offset, owner FROM partition_positions")
        assert cursor.fetchall() == [(30, "me")]


def test_what_waiting_does_not_mend_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Connection]
) -> None:
    refused = claims_after(monkeypatch, psycopg2.ProgrammingError("no such table"), connect=connect)
    with pytest.raises(DatabaseUnavailable, match="no such table"):
        refused.take([HELD], 1)


def test_brokers_that_are_away_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Connection]
) -> None:
    claimed = claims_after(monkeypatch, connect=connect, logs=Away()).take([HELD], 1)
    assert claimed[HELD].next_offset == 30


def test_brokers_that_stay_away_are_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Connection]
) -> None:
    monkeypatch.setattr(claims, "LOOK_UP_SECONDS", -1.0)
    with pytest.raises(LaurelsError, match="which cluster"):
        claims_after(monkeypatch, connect=connect, logs=Away()).take([HELD], 1)


def test_who_holds_a_position_for_too_long_is_cut_off_however_patient_the_session_is(
    monkeypatch: pytest.MonkeyPatch, database_url: str, connect: Callable[[], Connection]
) -> None:
    claims_after(monkeypatch, connect=connect).take([HELD], 1)
    monkeypatch.setattr(claims, "BLOCKED_SECONDS", 0.2)
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 5.0)

    def patient() -> Connection:
        return psycopg2.connect(database_url, options="-c lock_timeout=0 -c statement_timeout=10000")

    with closing(connect()) as holder, holder.cursor() as cursor:
        cursor.execute("UPDATE partition_positions SET next_offset = 50")
        assert claims_after(monkeypatch, connect=patient).take([HELD], 2)[HELD].next_offset == 10
