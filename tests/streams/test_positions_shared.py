"""Positions that several look at: who waits for whom, in which order, and whose rows nobody else touches."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.errors import Fenced
from sinks import position_moves
from sinks.batch import Claim
from sinks.positions import (
    LogState,
    Partition,
    advance,
    claim,
    cut_off,
    reached,
    refuse_other_cluster,
    release,
    stopped,
)
from sinks.prepared import PLAN_ONCE

PATIENCE_SECONDS = 90.0
GROUP = "laurels"
ME = "worker-1"
RIVAL = "worker-2"
LOG = LogState("cluster/topic", 0, 10)
LOW, MIDDLE, HIGH = ("session-attendance", 0), ("session-attendance", 1), ("tournament-results", 0)

FREE = """
SELECT topic, partition FROM partition_positions WHERE consumer_group = %s ORDER BY 1, 2 FOR NO KEY UPDATE SKIP LOCKED
"""
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


@pytest.fixture
def rival(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


def take(connection: Connection, *where: Partition, owner: str = ME, group: str = GROUP) -> int:
    """Claim the partitions; the epoch of the last one."""
    with connection, connection.cursor() as cursor:
        claimed = claim(cursor, group, owner, 1, dict.fromkeys(where, LOG))
    return claimed[where[-1]].epoch


def rows(connection: Connection, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def in_the_background(url: str, work: Callable[[Cursor], object]) -> Future[None]:
    """Begin the work in a transaction of its own."""

    def run() -> None:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            work(cursor)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def until_somebody_waits(connection: Connection) -> None:
    until_it_waits_or_is_done(connection, Future())


def until_it_waits_or_is_done(connection: Connection, work: Future[None]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (work.done() or rows(connection, WAITING)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_claim_waits_for_the_batch_in_flight_and_goes_on_where_that_ends(
    database_url: str, connection: Connection, rival: Connection
) -> None:
    ours = Claim(*LOW, take(connection, LOW), 0, 5, 10)
    with rival.cursor() as cursor:
        advance(cursor, GROUP, ME, [ours])
        claiming = in_the_background(database_url, lambda cursor: claim(cursor, GROUP, RIVAL, 2, {LOW: LOG}))
        until_somebody_waits(connection)
        rival.commit()
    claiming.result(PATIENCE_SECONDS)
    assert rows(connection, "SELECT owner, next_offset FROM partition_positions") == [(RIVAL, 5)]


def test_two_that_claim_a_new_partition_at_once_do_not_put_it_back(
    database_url: str, connection: Connection, rival: Connection
) -> None:
    with rival.cursor() as cursor:
        epoch = claim(cursor, GROUP, ME, 1, {LOW: LOG})[LOW].epoch
        claiming = in_the_background(database_url, lambda cursor: claim(cursor, GROUP, RIVAL, 2, {LOW: LOG}))
        until_somebody_waits(connection)
        advance(cursor, GROUP, ME, [Claim(*LOW, epoch, 0, 5, 10)])
        rival.commit()
    claiming.result(PATIENCE_SECONDS)
    assert rows(connection, "SELECT owner, next_offset FROM partition_positions") == [(RIVAL, 5)]


def test_a_batch_that_meets_a_claim_in_flight_waits_for_it_and_is_fenced(
    database_url: str, connection: Connection, rival: Connection
) -> None:
    ours = Claim(*LOW, take(connection, LOW), 0, 5, 10)
    with rival.cursor() as cursor:
        claim(cursor, GROUP, RIVAL, 2, {LOW: LOG})
        batch = in_the_background(database_url, lambda cursor: advance(cursor, GROUP, ME, [ours]))
        until_somebody_waits(connection)
        rival.commit()
    assert isinstance(batch.exception(PATIENCE_SECONDS), Fenced)
    assert rows(connection, "SELECT owner, next_offset FROM partition_positions") == [(RIVAL, 0)]


def test_no_batch_gets_in_between_what_a_claim_reads_and_what_it_writes(
    database_url: str, connection: Connection, rival: Connection
) -> None:
    ours = Claim(*LOW, take(connection, LOW), 0, 5, 10)
    batches: list[Future[None]] = []

    class Interrupted(Cursor):
        """A batch begins when the first rows have been read, and gets as far as it can."""

        def fetchall(self) -> list[tuple[Any, ...]]:
            if not batches:
                batches.append(in_the_background(database_url, lambda cursor: advance(cursor, GROUP, ME, [ours])))
                until_it_waits_or_is_done(connection, batches[0])
            return super().fetchall()

    with rival, rival.cursor(cursor_factory=Interrupted) as cursor:
        claim(cursor, GROUP, RIVAL, 2, {LOW: LOG})
    assert isinstance(batches[0].exception(PATIENCE_SECONDS), Fenced)
    assert rows(connection, "SELECT owner, next_offset FROM partition_positions") == [(RIVAL, 0)]


@pytest.mark.parametrize("what", ["batch", "claim", "leave"])
def test_positions_are_locked_in_one_order_whoever_locks_them(
    database_url: str, connection: Connection, rival: Connection, what: str
) -> None:
    partitions = [("session-attendance", number) for number in range(9)]
    # Made in another order than they are locked in, and asked for in it too.
    epochs = {where: take(connection, where) for where in reversed(partitions)}
    claims = [Claim(*where, epoch, 0, 5, 10) for where, epoch in epochs.items()]

    def work(cursor: Cursor) -> None:
        cursor.execute(PLAN_ONCE)
        if what == "batch":
            advance(cursor, GROUP, ME, claims)
        elif what == "claim":
            claim(cursor, GROUP, RIVAL, 2, dict.fromkeys(epochs, LOG))
        else:
            release(cursor, GROUP, ME)

    with rival.cursor() as cursor:
        cursor.execute("SELECT 1 FROM partition_positions WHERE partition = 4 FOR UPDATE")
        working = in_the_background(database_url, work)
        until_somebody_waits(connection)
        free = rows(connection, FREE, GROUP)
        rival.rollback()
    working.result(PATIENCE_SECONDS)
    assert free == partitions[5:]


def test_new_partitions_are_claimed_in_one_order(database_url: str, connection: Connection, rival: Connection) -> None:
    with rival.cursor() as cursor:
        claim(cursor, GROUP, RIVAL, 1, {LOW: LOG})
        wanted = dict.fromkeys((HIGH, LOW), LOG)
        claiming = in_the_background(database_url, lambda cursor: claim(cursor, GROUP, ME, 1, wanted))
        until_somebody_waits(connection)
        # Had the other one begun with the higher one, this would be a deadlock.
        claim(cursor, GROUP, RIVAL, 1, {HIGH: LOG})
        rival.commit()
    claiming.result(PATIENCE_SECONDS)
    assert rows(connection, "SELECT DISTINCT owner FROM partition_positions") == [(ME,)]


def test_whoever_leaves_gives_up_nothing_of_anybody_elses(connection: Connection) -> None:
    take(connection, LOW, MIDDLE)
    take(connection, MIDDLE, owner=RIVAL)
    take(connection, HIGH, group="another")
    with connection, connection.cursor() as cursor:
        release(cursor, GROUP, ME)
    owners = "SELECT topic, partition, owner FROM partition_positions ORDER BY 1, 2"
    assert rows(connection, owners) == [(*LOW, None), (*MIDDLE, RIVAL), (*HIGH, ME)]


def test_one_groups_positions_are_none_of_anothers_business(connection: Connection) -> None:
    epoch = take(connection, LOW)
    take(connection, LOW, group="another")
    with connection, connection.cursor() as cursor:
        advance(cursor, GROUP, ME, [Claim(*LOW, epoch, 0, 5, 10)])
        claim(cursor, "another", ME, 2, {LOW: LogState(LOG.log_id, 3, 10)})
        claim(cursor, "third", ME, 1, {LOW: LogState("elsewhere/topic", 0, 10)})
        refuse_other_cluster(cursor, GROUP, "cluster")
        assert (stopped(cursor, GROUP), stopped(cursor, "another")) == (set(), {LOW})
    moved = "SELECT consumer_group, next_offset FROM partition_positions ORDER BY 1"
    assert rows(connection, moved) == [("another", 0), (GROUP, 5), ("third", 0)]


def test_a_position_that_was_forgotten_comes_back_under_an_epoch_that_nobody_had(connection: Connection) -> None:
    before = take(connection, LOW)
    with connection, connection.cursor() as cursor:
        position_moves.adopt(cursor, GROUP, "elsewhere", {(LOW[0], 9): LogState("elsewhere/topic", 0, 0)}, "ada")
    assert rows(connection, "SELECT 1 FROM partition_positions") == []
    assert take(connection, LOW) > before


def test_a_commit_is_recognized_by_all_of_its_positions_in_their_epochs(connection: Connection) -> None:
    first, second = take(connection, LOW), take(connection, MIDDLE)
    ours = [Claim(*LOW, first, 0, 5, 10), Claim(*MIDDLE, second, 0, 5, 10)]
    with connection, connection.cursor() as cursor:
        advance(cursor, GROUP, ME, ours)
        assert reached(cursor, GROUP, ME, ours)
        assert not reached(cursor, GROUP, ME, [ours[0], Claim(*MIDDLE, second, 0, 6, 10)])
        assert not reached(cursor, GROUP, ME, [Claim(*LOW, first + 1, 0, 5, 10)])
        assert not reached(cursor, "another", ME, ours)


def test_only_who_has_held_a_position_for_too_long_is_cut_off(connection: Connection, rival: Connection) -> None:
    take(connection, LOW, MIDDLE, HIGH)
    ours = "SELECT 1 FROM partition_positions WHERE (topic, partition) = (%s, %s) FOR UPDATE"
    with rival.cursor() as holder, connection.cursor() as cursor:
        holder.execute(ours, LOW)
        cursor.execute(ours, HIGH)
        assert cut_off(cursor, GROUP, [LOW], 3600) == 0, "not for long"
        assert cut_off(cursor, GROUP, [MIDDLE, HIGH], 0) == 0, "nobody, and we ourselves"
        assert cut_off(cursor, "another", [LOW], 0) == 0, "another group's"
        assert cut_off(cursor, GROUP, [LOW, MIDDLE, HIGH], 0) == 1
        with pytest.raises(psycopg2.OperationalError):
            holder.execute("SELECT 1")
