"""The peers' rows: the same events by other ways into the same Postgres."""

from collections.abc import Iterable
from contextlib import closing
from typing import Final

import psycopg2
from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Identifier

from bench.peers.quix import table_of
from bench.run import Run
from bench.sink import record_all
from bench.watching import recorded_of, wait_until_held, watch
from bench.workload import PARTITIONS, TOPICS

BARE: Final = "bare"
NAIVE_SHARE: Final = 10
"""One event in so many: the last ones, so that users and tables are there already, which is in the peer's favour."""


def measure_bare(run: Run) -> dict[str, object]:
    """A confluent-kafka consumer on the same ledger, timed as the pipeline is."""
    stand = run.stand
    with stand.database() as url, stand.topics() as prefix, stand.held_back(prefix, run.records) as held:
        command = ("-m", "bench.peers.bare")
        with stand.process("bare", command, database=url, prefix=prefix, group=BARE) as bare:
            wait_until_held(url, BARE, len(TOPICS) * PARTITIONS, [bare])
            released_at = held.release()
            progress = watch(url, recorded_of(BARE, held.topics.counts), len(run.records), [bare])
    return {"bare_events_per_s": progress.per_second(released_at)}


def measure_naive(run: Run) -> dict[str, object]:
    """Faust, one event one transaction: the last tenth of the events, the others recorded before."""
    stand = run.stand
    before = len(run.records) - max(len(run.records) // NAIVE_SHARE, 1)
    with stand.database() as url, stand.topics() as prefix:
        record_all(url, run.records[:before], part=0, parts=1)
        taken = _numbers_taken(url)
        stand.fill(prefix, run.records[before:])
        command = ("-m", "bench.peers.naive", "worker", "-l", "error", "--without-web")
        with stand.process("naive", command, database=url, prefix=prefix, group="naive") as naive:
            progress = watch(url, lambda cursor: _number(cursor) - taken, len(run.records) - before, [naive])
    return {"naive_events_per_s": progress.per_second()}


def measure_quix(run: Run) -> dict[str, object]:
    """Quix Streams with its own Postgres sink, one row per event."""
    stand = run.stand
    with stand.database() as url, stand.topics() as prefix:
        _create_tables(url, map(table_of, TOPICS))
        stand.fill(prefix, run.records)
        with stand.process("quix", ("-m", "bench.peers.quix"), database=url, prefix=prefix) as quix:
            progress = watch(url, _landed, len(run.records), [quix])
    return {"quix_events_per_s": progress.per_second()}


def _number(cursor: Cursor) -> int:
    """How many receipts were numbered; the naive peer takes one number an event, in the event's transaction."""
    cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM reward_receipts_seq")
    (number,) = cursor.fetchone() or (0,)
    return int(number)


def _numbers_taken(url: str) -> int:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        return _number(cursor)


def _create_tables(url: str, tables: Iterable[str]) -> None:
    """Tables as Quix makes them, with an id besides, so that rows are counted without reading them."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                SQL(
                    'CREATE TABLE {} (id bigint GENERATED ALWAYS AS IDENTITY UNIQUE, "timestamp" timestamp NOT NULL, '
                    '"__key" text)'
                ).format(Identifier(table))
            )


def _landed(cursor: Cursor) -> int:
    landed = 0
    for topic in TOPICS:
        cursor.execute(SQL("SELECT coalesce(max(id), 0) FROM {}").format(Identifier(table_of(topic))))
        (last,) = cursor.fetchone() or (0,)
        landed += int(last)
    return landed
