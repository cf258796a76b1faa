"""What a batch locks, and in which order, whoever it meets; and how long it has patience with a database that is away."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import psycopg2
import pytest
from msgspec import structs
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from schemas.ruleset import from_canonical_json, load_default, to_canonical_json
from schemas.settings import Settings
from sinks.batch import Batch, Checkpoint, Claim
from sinks.database import connector, transaction
from sinks.ledger import Identity, Ledger, RetryPolicy, ledger
from sinks.ruleset_store import publish_ruleset
from streams import rules
from tests.oracle.academy_log import AT, GROUP, OWNER, Academy, presence, record, result

PATIENCE_SECONDS = 90.0
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

FORGET_SESSIONS = "DELETE FROM session_attendances; DELETE FROM sessions"
END_OTHER_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def rival(database_url: str) -> Iterator[Cursor]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def recording(academy: Academy) -> Iterator[None]:
    """Deliver what was published, and go on as soon as that waits for somebody; in the end wait until it is recorded."""
    thread = threading.Thread(target=academy.deliver, name="recording")
    thread.start()
    deadline = monotonic() + PATIENCE_SECONDS
    while not academy.query(WAITING):
        assert monotonic() < deadline
        sleep(0.01)
    yield
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_a_batch_locks_nobody_before_its_positions_are_its_own(academy: Academy, rival: Cursor) -> None:
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    academy.publish(SESSION_ATTENDANCE, presence(1, 11), presence(2, 11))
    rival.execute("SELECT 1 FROM partition_positions FOR UPDATE")
    with recording(academy):
        assert academy.query("SELECT id FROM users FOR UPDATE SKIP LOCKED") == [(1,)]
        assert academy.query("INSERT INTO users (id) VALUES (2) RETURNING id") == [(2,)]
        rival.connection.rollback()
    assert academy.verify().differences == []


def test_receipts_are_numbered_once_their_users_are_locked(academy: Academy, rival: Cursor) -> None:
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    academy.publish(SESSION_ATTENDANCE, presence(1, 11))
    rival.execute("SELECT 1 FROM users WHERE id = 1 FOR UPDATE")
    with recording(academy):
        rival.execute("SELECT nextval('reward_receipts_seq')")
        ((meanwhile,),) = rival.fetchall()
        rival.connection.rollback()
    ((last,),) = academy.query("SELECT max(seq) FROM reward_receipts")
    assert last > meanwhile


def test_what_a_batch_decides_on_is_read_under_the_users_locks(academy: Academy, rival: Cursor) -> None:
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    academy.publish(SESSION_ATTENDANCE, presence(1, 11))
    rival.execute("SELECT 1 FROM users WHERE id = 1 FOR UPDATE")
    rival.execute("UPDATE specialization_progress SET completed_sessions = completed_sessions + 5 WHERE student_id = 1")
    with recording(academy):
        rival.connection.commit()
    assert academy.query("SELECT completed_sessions FROM specialization_progress") == [(7,)]


def test_nobody_waits_for_a_new_source_while_the_batch_that_needs_it_waits(academy: Academy, rival: Cursor) -> None:
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    academy.publish(SESSION_ATTENDANCE, presence(1, 11))
    rival.execute("SELECT 1 FROM users WHERE id = 1 FOR UPDATE")
    make = "INSERT INTO sessions (id, title, held_at) VALUES (11, 'made', now()) RETURNING id"
    with recording(academy):
        assert academy.query(f"SET lock_timeout = '5s'; {make}") == [(11,)]
        rival.connection.rollback()
    assert academy.verify().differences == []


def test_what_keeps_coming_again_waits_for_nobody_who_holds_its_users(academy: Academy, rival: Cursor) -> None:
    told = presence(1, 10), presence(2, 10)
    for _ in range(2):
        academy.tell(SESSION_ATTENDANCE, *told)
    rival.execute("SELECT 1 FROM users FOR UPDATE")
    academy.tell(SESSION_ATTENDANCE, *told)
    assert academy.verify().differences == []


ROSTERS = [{"tournament_id": id_, "participants": 4, "finalized_at": AT} for id_ in (9, 8)]


@pytest.mark.parametrize(
    ("topic", "events", "create"),
    [
        pytest.param(
            SESSION_ATTENDANCE, [presence(9, 10), presence(8, 10)], "INSERT INTO users (id) VALUES (%s)", id="users"
        ),
        pytest.param(
            TOURNAMENT_RESULTS,
            [result(1, 9, 1), result(1, 8, 1)],
            "INSERT INTO semesters (id, code, name) VALUES (%s, 'made', 'by another')",
            id="tournaments",
        ),
        pytest.param(
            TOURNAMENT_ROSTERS,
            ROSTERS,
            'INSERT INTO tournament_rosters (tournament_id, participants, finalized_at, log_id, partition, "offset")'
            f" VALUES (%s, 4, '{AT}', 'memory/tournament-rosters', 0, 0)",
            id="rosters",
        ),
    ],
)
def test_what_is_new_is_created_ids_ascending_so_that_two_who_create_it_never_wait_in_a_circle(
    academy: Academy, rival: Cursor, topic: str, events: Sequence[dict[str, Any]], create: str
) -> None:
    rival.execute("SET deadlock_timeout = '10min'")
    academy.tell(TOURNAMENT_ROSTERS, *[{**roster, "tournament_id": 7} for roster in ROSTERS])
    if topic == TOURNAMENT_ROSTERS:
        academy.tell(TOURNAMENT_RESULTS, result(1, 9, 1), result(1, 8, 1))
    academy.publish(topic, *events)
    retried: list[str] = []
    identity = Identity(GROUP, OWNER)
    academy.ledger = Ledger(connector(academy.url, name="new"), rules, identity, on_retry=retried.append)
    rival.execute(create, (8,))
    with recording(academy):
        # Had the ledger begun with 9, this would be a deadlock.
        rival.execute(create, (9,))
        rival.connection.commit()
    assert retried == []


def test_sessions_that_a_server_lost_by_failing_over_are_created_again(academy: Academy) -> None:
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    # Whoever took over had not heard of them yet.
    academy.query(f"SET session_replication_role = replica; {FORGET_SESSIONS}; {END_OTHER_SESSIONS}")
    academy.tell(SESSION_ATTENDANCE, presence(2, 10))
    assert academy.query("SELECT id FROM sessions") == [(10,)]


def test_halves_of_a_batch_claim_up_to_and_from_where_they_part(academy: Academy) -> None:
    told = [academy.delivery(record(SESSION_ATTENDANCE, offset, presence(1, offset))) for offset in (5, 7)]
    whole = Claim(SESSION_ATTENDANCE, 0, 1, 5, 9, 9)
    first, second = ledger._halves(Batch(told, [whole]))
    assert [list(first.claims), list(second.claims)] == [
        [replace(whole, next_offset=6)],
        [replace(whole, from_offset=6)],
    ]


def test_only_the_second_half_says_how_far_a_replay_has_come(academy: Academy) -> None:
    told = [academy.delivery(record(SESSION_ATTENDANCE, offset, presence(1, offset))) for offset in (5, 7)]
    reached = Checkpoint("a-run", {"session-attendance/0": 8})
    first, second = ledger._halves(Batch(told, checkpoint=reached))
    assert first.checkpoint == replace(reached, next_offsets={})
    assert second.checkpoint == reached


class Clock:
    """A clock that only pausing moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def away_until(seconds: float, clock: Clock, connect: Callable[[], Connection]) -> Callable[[], Connection]:
    """A Postgres that nobody reaches until so long has passed."""

    def try_to_connect() -> Connection:
        if clock.now < seconds:
            raise psycopg2.OperationalError("connection refused")
        return connect()

    return try_to_connect


def test_an_outage_of_30_seconds_is_within_the_patience_that_a_worker_has_by_default(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, settings = Clock(), Settings()
    monkeypatch.setattr(ledger, "time", clock)
    retry = RetryPolicy(
        seconds=settings.retry_for_seconds,
        first_pause_seconds=settings.retry_first_seconds,
        most_pause_seconds=settings.retry_longest_seconds,
    )
    connect = away_until(30, clock, connector(academy.url, name="away"))
    academy.ledger = Ledger(connect, rules, Identity(GROUP, OWNER), retry=retry)
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    assert 30 <= clock.now < 30 + settings.retry_longest_seconds
    assert len(clock.pauses) < 30, "longer and longer, up to a bound"
    assert academy.verify().differences == []


def test_a_ruleset_that_was_published_decides_within_a_second(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, default = Clock(), load_default().content
    monkeypatch.setattr(ledger, "time", clock)
    academy.tell(SESSION_ATTENDANCE, presence(1, 10))
    renamed = from_canonical_json(to_canonical_json(structs.replace(default, name="renamed")))
    with transaction(connector(academy.url, name="publishing")) as cursor:
        publish_ruleset(cursor, renamed, "ada")
    clock.now += 1.01
    academy.tell(SESSION_ATTENDANCE, presence(1, 11))
    found = academy.query(f"SELECT ruleset = '{renamed.hash}' FROM reward_receipts ORDER BY seq")
    assert found == [(False,), (True,)]
