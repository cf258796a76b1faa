"""The recording path fed from memory, on one connection and on two; and the floor that Postgres sets to it."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from io import StringIO
from multiprocessing import get_context
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection

from bench.errors import BenchFailed
from bench.gathering import Gatherer, claim, fetch_specializations
from bench.run import Run
from bench.workload import PARTITIONS, TOPICS, Record, make_workload
from schemas.settings import Settings
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from sinks.ledger.rows import COLUMNS
from sinks.positions import LogState
from streams import interpreter, rules
from streams.intake import Intake

GROUP: Final = "bench"
LOG: Final = "memory/{topic}"
JOIN_SECONDS: Final = 3_600.0
BATCH_EVENTS: Final[int] = Settings.model_fields["batch_events"].default

LEDGER_ROWS: Final = {
    "tournament_participations": (
        "user_id, semester_id, placement, participants, skills, specialization_id, status, revision, xp_awarded, "
        "credits_awarded, achieved_at"
    ),
    "session_attendances": (
        "user_id, session_id, specialization_id, status, revision, minutes, theory_hours, practice_hours, skills, "
        "occurred_at"
    ),
    "tournament_badges": "user_id, semester_id, badge_type, earned_at, revoked_at",
    **{name: COLUMNS[name] for name in ("xp_transactions", "credit_transactions", "skill_rewards")},
}
"""What counts as ledger rows, and the columns that are written. Not receipts, states, positions or outbox."""

REFERRED_TO: Final = ("users", "semesters", "sessions")
REFERENCES: Final = import_module("migrations.versions.0021_checked_references").REFERENCES
"""The foreign keys that these tables would have, were they not checked by statement."""

RECEIPTS: Final = (
    'event_key, seq, user_id, corrects, revision, origin, payload_hash, ruleset, topic, log_id, partition, "offset", '
    '"grant", occurred_at'
)


def measure_sink(run: Run) -> dict[str, object]:
    """Events a second from bytes in memory to commit, in batches as a worker's, on one connection."""
    with run.stand.database() as url:
        seconds = record_all(url, run.records, part=0, parts=1)
    return {"sink_events_per_s": len(run.records) / seconds}


def measure_sink_2_connections(run: Run) -> dict[str, object]:
    """The same by two connections at once, each with half of the partitions: as two threads, and as two processes."""
    with run.stand.database() as url:
        threads = _record_in_threads(url, run.records)
    with run.stand.database() as url:
        processes = _record_in_processes(url, len(run.records))
    return {
        "sink_2_connections_events_per_s": len(run.records) / threads,
        "sink_2_processes_events_per_s": len(run.records) / processes,
    }


def measure_floor(run: Run) -> dict[str, object]:
    """Bare COPY of the ledger rows that the events came to, into empty tables with all their constraints."""
    with run.stand.database() as url:
        record_all(url, run.records, part=0, parts=1)
        contents = {table: _copy_out(url, table, columns) for table, columns in LEDGER_ROWS.items()}
        receipts = _copy_out(url, "reward_receipts", RECEIPTS)
        referred = {table: _copy_out(url, table, "*") for table in REFERRED_TO}
    with run.stand.database() as url, closing(psycopg2.connect(url)) as connection:
        ledger_seconds = _copy_in(run, connection, contents)
        receipts_seconds = _copy_in(run, connection, {"reward_receipts": receipts})
    with run.stand.database() as url, closing(psycopg2.connect(url)) as connection:
        with connection, connection.cursor() as cursor:
            for table, content in referred.items():
                cursor.copy_expert(f"COPY {table} FROM STDIN", content)
            for table in LEDGER_ROWS:
                for column, target in REFERENCES[table].items():
                    cursor.execute(f"ALTER TABLE {table} ADD FOREIGN KEY ({column}) REFERENCES {target}")
        referring_seconds = _copy_in(run, connection, contents)
    return {
        "floor_events_per_s": len(run.records) / ledger_seconds,
        "floor_with_receipts_events_per_s": len(run.records) / (ledger_seconds + receipts_seconds),
        "floor_with_foreign_keys_events_per_s": len(run.records) / referring_seconds,
    }


def _copy_in(run: Run, connection: Connection, contents: Mapping[str, StringIO]) -> float:
    """COPY into each table, one commit a table; the seconds that this took."""
    with connection.cursor() as cursor:
        # As the ledger does: its rows need no check of references, and announce themselves.
        cursor.execute("SET laurels.recording = 'on'")
        connection.commit()
        run.stand.checkpoint()
        began = time.monotonic()
        for table, content in contents.items():
            content.seek(0)
            columns = RECEIPTS if table == "reward_receipts" else LEDGER_ROWS[table]
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", content)
            connection.commit()
        return time.monotonic() - began


def record_all(url: str, records: Sequence[Record], *, part: int, parts: int, start: Any = None) -> float:
    """Record the records of every `parts`-th partition; the seconds from the first parse to the last commit.

    `start` is waited for when all is ready.
    """
    connect = connector(url, name="bench")
    identity = Identity(GROUP, f"sink-{part}")
    logs = {
        (topic, partition): LogState(LOG.format(topic=topic), 0, 0)
        for topic in TOPICS
        for partition in range(part, PARTITIONS, parts)
    }
    gatherer = Gatherer(claim(connect, identity, logs), fetch_specializations(connect))
    offsets: Counter[tuple[str, int]] = Counter()
    now = int(time.time() * 1000)
    interpreter.prepare()
    with closing(Intake(Ledger(connect, rules, identity), dead_letters_in_a_row=len(records))) as intake:
        if start is not None:
            start.wait()
        began = time.monotonic()
        for topic, partition, key, value in records:
            if partition % parts != part:
                continue
            where = topic, partition
            gatherer.add(topic, partition, offsets[where], key, value, now)
            offsets[where] += 1
            if len(gatherer) == BATCH_EVENTS:
                intake.record(gatherer.take())
        if len(gatherer):
            intake.record(gatherer.take())
        return time.monotonic() - began


def _record_in_threads(url: str, records: Sequence[Record]) -> float:
    start = threading.Barrier(2)
    seconds: list[float] = []
    threads = [
        threading.Thread(
            target=lambda part: seconds.append(record_all(url, records, part=part, parts=2, start=start)),
            args=(part,),
            daemon=True,
        )
        for part in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    if len(seconds) != len(threads):
        raise BenchFailed("a thread that records ended without recording everything; what it said stands above")
    return max(seconds)


def _record_in_processes(url: str, events: int) -> float:
    """Each process makes the same workload for itself before the clock starts."""
    context = get_context("spawn")
    start, answers = context.Barrier(2), context.SimpleQueue()
    processes = [
        context.Process(target=_record_half, args=(url, events, part, start, answers), daemon=True) for part in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(JOIN_SECONDS)
    if any(process.exitcode for process in processes):
        raise BenchFailed("a process that records ended without recording everything; what it said stands above")
    seconds: list[float] = [answers.get() for _ in processes]
    return max(seconds)


def _record_half(url: str, events: int, part: int, start: Any, answers: Any) -> None:
    answers.put(record_all(url, list(make_workload(events)), part=part, parts=2, start=start))


def _copy_out(url: str, table: str, columns: str) -> StringIO:
    """The rows in the order they were written."""
    content = StringIO()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT {columns} FROM {table} ORDER BY ctid) TO STDOUT", content)
    content.seek(0)
    return content
