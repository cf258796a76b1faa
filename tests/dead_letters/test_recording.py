"""Dead letters as the ledger writes them, whatever a producer sent, and however often it is met."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from schemas.errors import MustStop
from schemas.events import SESSION_ATTENDANCE, dead_letter_topic
from schemas.rewards import Refused
from sinks.batch import Batch, Coordinates, Delivery
from sinks.outbox import LANES, take
from tests.oracle.academy_log import NOON_MS, Academy

WHERE = Coordinates(SESSION_ATTENDANCE, 0, 0, "memory/session-attendance")


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(Academy(database_url)) as academy:
        yield academy


def poison(detail: str = "poison", timestamp_ms: int | None = NOON_MS) -> Delivery:
    return Delivery(Refused("undecodable", detail), WHERE, b"", b"1", b"\x00", (), timestamp_ms)


def test_what_is_met_again_is_counted_and_not_announced_again(academy: Academy) -> None:
    for _ in range(2):
        academy.ledger.record(Batch([poison()]))
    assert academy.query("SELECT attempts FROM dead_letters") == [(2,)]
    with closing(psycopg2.connect(academy.url)) as connection, connection.cursor() as cursor:
        waiting = [message.topic for row in take(cursor, range(LANES), 100) for message in row.messages]
    assert waiting.count(dead_letter_topic(SESSION_ATTENDANCE)) == 1


def test_a_reason_that_quotes_a_nul_is_kept_without_it(academy: Academy) -> None:
    academy.ledger.record(Batch([poison("there is no specialization 'PLA\0YER'")]))
    assert academy.query("SELECT detail FROM dead_letters") == [(r"there is no specialization 'PLA\0YER'",)]


@pytest.mark.parametrize("timestamp_ms", [None, -1, -(2**63), 253_402_300_800_000, 2**63 - 1])
def test_a_timestamp_that_is_no_time_is_left_out(academy: Academy, timestamp_ms: int | None) -> None:
    academy.ledger.record(Batch([poison(timestamp_ms=timestamp_ms)]))
    assert academy.query("SELECT produced_at FROM dead_letters") == [(None,)]


def test_a_dead_letter_that_the_database_refuses_is_nobodys_fault_and_stops(academy: Academy) -> None:
    academy.query(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'never' USING ERRCODE = '22003'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON dead_letters EXECUTE FUNCTION fail()",
    )
    with pytest.raises(MustStop, match="without an event to blame"):
        academy.ledger.record(Batch([poison()]))
