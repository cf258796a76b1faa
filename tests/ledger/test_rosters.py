"""A tournament's roster gives way to later ones alone, and is no bother to whoever brings it again."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from schemas.events import TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from sinks.batch import Batch, Recorded
from tests.oracle.academy_log import AT, Academy, record, result

SECONDS = 120
LATER = "2026-03-01T11:00:00Z"
LATEST = "2026-03-01T12:00:00Z"
STANDS = "SELECT participants, user_ids, finalized_at = %s, expected_participants FROM tournament_rosters JOIN semesters ON id = tournament_id"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(Academy(database_url)) as academy:
        academy.tell(TOURNAMENT_RESULTS, result(1, 10, 1))
        yield academy


def deliver(academy: Academy, *rosters: dict[str, Any]) -> Recorded:
    """Record these as they stand on the topic, from its start."""
    deliveries = [academy.delivery(record(TOURNAMENT_ROSTERS, at, roster)) for at, roster in enumerate(rosters)]
    return academy.ledger.record(Batch(deliveries))


def roster(participants: int, finalized_at: str = AT, **others: Any) -> dict[str, Any]:
    return {"tournament_id": 10, "participants": participants, "finalized_at": finalized_at, **others}


def stands(academy: Academy, finalized_at: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(academy.url)) as connection, connection.cursor() as cursor:
        cursor.execute(STANDS, (finalized_at,))
        return cursor.fetchall()


ROSTERS = (
    roster(5),
    roster(5),
    roster(6),
    roster(7, LATER, user_ids=[1, 2]),
    roster(8),
    roster(7, LATER, user_ids=[1, 2]),
    roster(7, LATER, user_ids=[1, 3]),
)


def test_a_roster_gives_way_to_a_later_one_that_says_something_else(academy: Academy) -> None:
    counts = deliver(academy, *ROSTERS)
    assert (counts.recorded, counts.duplicates, counts.stale) == (4, 2, 1)
    assert stands(academy, LATER) == [(7, [1, 3], True, 7)]


def test_a_tournament_whose_rewards_were_distributed_stays_so_when_a_later_roster_comes(academy: Academy) -> None:
    status = "SELECT tournament_status FROM semesters WHERE id = 10"
    with closing(psycopg2.connect(academy.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        deliver(academy, roster(5))
        cursor.execute(status)
        assert cursor.fetchone() == ("COMPLETED",)
        cursor.execute("UPDATE semesters SET tournament_status = 'REWARDS_DISTRIBUTED' WHERE id = 10")
        deliver(academy, roster(5), roster(7, LATER))
        cursor.execute(status)
        assert cursor.fetchone() == ("REWARDS_DISTRIBUTED",)
    assert stands(academy, LATER) == [(7, None, True, 7)]


def test_rosters_that_come_again_wait_for_nobody_who_holds_theirs(academy: Academy) -> None:
    deliver(academy, *ROSTERS)
    with closing(psycopg2.connect(academy.url)) as rival, rival.cursor() as cursor:
        cursor.execute("SELECT 1 FROM tournament_rosters FOR UPDATE")
        again = deliver(academy, *ROSTERS)
    assert (again.recorded, again.duplicates, again.stale) == (0, 3, 4)
    assert stands(academy, LATER) == [(7, [1, 3], True, 7)]


def test_of_two_that_record_a_roster_at_once_the_later_roster_stands(academy: Academy) -> None:
    with closing(psycopg2.connect(academy.url)) as rival, rival.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(
            'INSERT INTO tournament_rosters (tournament_id, participants, finalized_at, log_id, partition, "offset") '
            f"VALUES (10, 9, '{LATEST}', 'memory/tournament-rosters', 0, 9)"
        )
        second = pool.submit(deliver, academy, roster(7, LATER), roster(9, LATEST))
        wait_until_one_waits(academy)
        rival.commit()
        counts = second.result()
    assert (counts.recorded, counts.duplicates, counts.stale) == (0, 1, 1)
    assert stands(academy, LATEST)[0][:3] == (9, None, True)


def wait_until_one_waits(academy: Academy) -> None:
    deadline = time.monotonic() + SECONDS
    with closing(psycopg2.connect(academy.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(WAITING)
        while cursor.fetchone() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            cursor.execute(WAITING)
