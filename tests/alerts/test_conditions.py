"""Alerts about conditions last as long as the condition, and a debt as long as it is owed."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.events import CreditTransfer, Event, TournamentResult
from schemas.payload import payload_hash
from sinks.batch import Batch, Delivery
from sinks.conditions import check_conditions
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from streams import rules

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


@pytest.fixture
def cursor(connection: Connection) -> Iterator[Cursor]:
    with connection.cursor() as cursor:
        yield cursor


def firing(cursor: Cursor) -> list[tuple[str, str, str]]:
    cursor.execute(
        "SELECT kind, subject, annotations ->> 'found' FROM reward_alerts WHERE status = 'firing' ORDER BY 1"
    )
    return cursor.fetchall()


def test_open_dead_letters_of_a_topic_are_one_alert_until_none_is_open(cursor: Cursor) -> None:
    cursor.execute(
        """INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail, status)
           SELECT 'results', 'c/t', 0, n, CASE n WHEN 1 THEN 'undecodable' ELSE 'invalid_event' END, '',
                  CASE n WHEN 4 THEN 'final' ELSE 'open' END
             FROM generate_series(1, 4) n"""
    )
    check_conditions(cursor)
    assert firing(cursor) == [("OPS-02", "results", "3, because of invalid_event, undecodable")]
    cursor.execute("UPDATE dead_letters SET status = 'dropped' WHERE status = 'open'")
    check_conditions(cursor)
    assert firing(cursor) == []


@pytest.mark.parametrize(
    ("next_offset", "age", "stopped", "stalled"),
    [
        (5, "2 minutes", None, True),
        (5, "30 seconds", None, False),
        (9, "2 minutes", None, False),
        (5, "2 minutes", "gap", False),
    ],
)
def test_a_partition_with_records_left_and_a_position_at_rest_is_stalled(
    cursor: Cursor, next_offset: int, age: str, stopped: str | None, *, stalled: bool
) -> None:
    cursor.execute(
        """INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch,
                                            owner, stopped, updated_at)
           VALUES ('g', 'results', 3, 'c/t', %s, 9, 1, 'worker-1', %s, now() - %s::interval)""",
        (next_offset, stopped, age),
    )
    check_conditions(cursor)
    assert [alert[:2] for alert in firing(cursor)] == ([("OPS-04", "results/3 of g")] if stalled else [])


def test_while_one_checks_the_conditions_another_passes(cursor: Cursor, database_url: str) -> None:
    check_conditions(cursor)
    with closing(psycopg2.connect(database_url)) as other, other.cursor() as passing:
        passing.execute(
            """INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail)
               VALUES ('results', 'c/t', 0, 0, 'undecodable', '')"""
        )
        check_conditions(passing)
        assert firing(passing) == []
        cursor.connection.rollback()
        check_conditions(passing)
        assert len(firing(passing)) == 1


def test_a_debt_is_an_alert_until_it_is_paid(cursor: Cursor, database_url: str) -> None:
    def record(*events: Event) -> None:
        with closing(Ledger(connector(database_url, name="test"), rules, Identity(group="", owner=""))) as ledger:
            ledger.record(Batch([Delivery(event, None, payload_hash(event)) for event in events]))

    def result(tournament: int, placement: int, revision: int = 1) -> TournamentResult:
        return TournamentResult(
            event_id="e",
            user_id=5,
            tournament_id=tournament,
            revision=revision,
            status="final",
            placement=placement,
            occurred_at=NOW,
        )

    gift = CreditTransfer(idempotency_key="k", sender_id=5, receiver_id=6, amount=90, occurred_at=NOW)
    record(result(1, 1), gift)
    assert firing(cursor) == []
    cursor.connection.commit()
    record(result(1, 9, revision=2))
    assert firing(cursor) == [("OPS-06", "user 5", "-90")]
    cursor.connection.commit()
    record(result(2, 1))
    assert firing(cursor) == []
