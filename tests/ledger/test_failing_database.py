"""A failing database is never the event's fault, and an event that it refuses costs its neighbours nothing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from time import monotonic, sleep
from typing import Any

import psycopg2
import pytest
from msgspec import structs
from psycopg2.extensions import connection as Connection

from schemas.errors import MustStop
from schemas.events import SESSION_ATTENDANCE
from schemas.ruleset import from_canonical_json, load_default, to_canonical_json
from sinks.batch import Batch, RuleChange
from sinks.database import Timeouts, Verdict, classify, connector
from sinks.ledger import Identity, Ledger, RetryPolicy
from streams import rules
from tests.oracle.academy_log import GROUP, OWNER, Academy, presence, record
from tests.services.databases import cloned
from tests.services.run import Service

PATIENCE_SECONDS = 40.0


EVERYTHING = """
SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM reward_receipts), (SELECT sum(next_offset) FROM partition_positions),
       (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM outbox)
"""
SESSIONS = "SELECT 1 FROM pg_stat_activity"


def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


class Struggle:
    """An academy whose database gives its ledger a hard time; `retried` is what the ledger heard."""

    def __init__(self, database_url: str) -> None:
        self.academy = Academy(database_url)
        self.retried: list[str] = []
        self._letters = 0

    def begin(self) -> None:
        """Forget what was, and have an ordinary ledger on a database that is well."""
        self.query("DROP FUNCTION IF EXISTS fail CASCADE; DROP SEQUENCE IF EXISTS attempts")
        self.retried.clear()
        ((self._letters,),) = self.query("SELECT count(*) FROM dead_letters")
        self.use()

    def use(
        self,
        *,
        timeouts: Timeouts | None = None,
        connect: Callable[[], Connection] | None = None,
        on_retry: Callable[[], object] = lambda: None,
    ) -> None:
        """Give the academy another ledger."""

        def retried(reason: str) -> None:
            self.retried.append(reason)
            on_retry()

        self.academy.close()
        self.academy.ledger = Ledger(
            connect or connector(self.academy.url, name="struggling", timeouts=timeouts),
            rules,
            Identity(GROUP, OWNER),
            retry=RetryPolicy(seconds=PATIENCE_SECONDS, first_pause_seconds=0.01, most_pause_seconds=0.05),
            on_retry=retried,
        )

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.academy.query(statement, *parameters)

    def fail(self, *plpgsql: str) -> None:
        """Have the next statements that write receipts do this first, each one of these."""
        attempts = " ".join(f"WHEN {number} THEN {what};" for number, what in enumerate(plpgsql, 1))
        self.query(
            f"CREATE SEQUENCE attempts; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN CASE nextval('attempts') {attempts} ELSE END CASE; RETURN NULL; END $$;"
            f" CREATE TRIGGER fail BEFORE INSERT ON reward_receipts EXECUTE FUNCTION fail()"
        )

    def until_somebody_waits(self) -> None:
        """Wait until a session waits for another one's lock."""
        until(lambda: self.query(f"{SESSIONS} WHERE wait_event_type = 'Lock' AND datname = current_database()"))

    def dead_letters(self) -> list[tuple[int, str, str]]:
        return self.query(
            "SELECT user_id, reason, split_part(detail, ':', 1) FROM dead_letters ORDER BY id OFFSET %s", self._letters
        )

    def differences(self) -> int:
        """How many rows are not what the topics say."""
        return len(self.academy.verify().differences)


@pytest.fixture(scope="module")
def shared(postgres: Service) -> Iterator[Struggle]:
    with cloned(postgres, "template") as url:
        struggle = Struggle(url)
        yield struggle
        struggle.academy.close()


@pytest.fixture
def struggle(shared: Struggle) -> Struggle:
    """All tests share one database; each has sessions of its own."""
    shared.begin()
    return shared


def failing_with(code: str) -> str:
    return f"RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'"


def test_what_a_database_is_not_able_to_do_just_now_is_tried_again(struggle: Struggle) -> None:
    not_able = ["08006", "40001", "40P01", "53200", "55P03", "57014", "57P01", "58030", "25P03", "25006"]
    struggle.fail(*map(failing_with, not_able))
    struggle.academy.tell(SESSION_ATTENDANCE, presence(1, 11), presence(2, 11))
    assert struggle.retried == not_able
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def test_what_nobody_foresaw_stops_with_nothing_written(struggle: Struggle) -> None:
    unforeseen = ["XX000", "42P01", "P0001"]
    struggle.fail(*map(failing_with, unforeseen))
    academy = struggle.academy
    before = struggle.query(EVERYTHING)
    for code in unforeseen:
        with pytest.raises(MustStop, match=code):
            academy.apply_directly(SESSION_ATTENDANCE, presence(3, 12))
        assert struggle.query(EVERYTHING) == before
    academy.tell(SESSION_ATTENDANCE, presence(3, 12))
    assert struggle.query(EVERYTHING) != before
    assert (struggle.retried, struggle.differences()) == ([], 0)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (psycopg2.OperationalError("server closed the connection unexpectedly"), Verdict.RETRY),
        (psycopg2.InterfaceError("connection already closed"), Verdict.RETRY),
        (psycopg2.ProgrammingError("can't adapt type 'object'"), Verdict.STOP),
        (psycopg2.DataError("a mistake of ours"), Verdict.STOP),
    ],
)
def test_without_a_sqlstate_only_a_lost_connection_is_tried_again(error: psycopg2.Error, verdict: Verdict) -> None:
    assert classify(error) is verdict


class LosesAnAnswer(Connection):
    """A connection that breaks as it commits what it wrote: before Postgres hears of it, or before we hear the answer."""

    breaks: str | None = None

    def commit(self) -> None:
        with self.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            ((wrote,),) = cursor.fetchall()
        if not wrote or LosesAnAnswer.breaks is None:
            super().commit()
            return
        if LosesAnAnswer.breaks == "after":
            super().commit()
        LosesAnAnswer.breaks = None
        self.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")


def test_a_commit_whose_answer_is_lost_counts_once(struggle: Struggle) -> None:
    def connect() -> Connection:
        return psycopg2.connect(struggle.academy.url, connection_factory=LosesAnAnswer)

    struggle.use(connect=connect)
    # The session is there from now on, so what is written next is the batch itself.
    struggle.academy.tell(SESSION_ATTENDANCE, presence(1, 13))
    for user, LosesAnAnswer.breaks in enumerate(["before", "after"], 51):
        struggle.academy.tell(SESSION_ATTENDANCE, presence(user, 13), presence(user + 10, 13))
    assert struggle.retried == ["connection", "connection"]
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def test_a_statement_that_hangs_is_cut_off_and_tried_again(struggle: Struggle) -> None:
    struggle.use(timeouts=Timeouts(statement_ms=500))
    struggle.fail("PERFORM pg_sleep(60)")
    struggle.academy.tell(SESSION_ATTENDANCE, presence(1, 16))
    assert "57014" in struggle.retried
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def test_a_lock_that_is_never_given_is_not_waited_for_without_end(struggle: Struggle) -> None:
    struggle.query("INSERT INTO users (id) VALUES (4)")
    with closing(psycopg2.connect(struggle.academy.url)) as rival, rival.cursor() as cursor:
        cursor.execute("SELECT 1 FROM users WHERE id = 4 FOR UPDATE")
        struggle.use(timeouts=Timeouts(lock_ms=200), on_retry=rival.rollback)
        struggle.academy.tell(SESSION_ATTENDANCE, presence(4, 17))
    assert struggle.retried == ["55P03"]
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def test_a_client_that_is_stuck_inside_a_transaction_is_cut_off(struggle: Struggle) -> None:
    with closing(
        connector(struggle.academy.url, name="stuck", timeouts=Timeouts(idle_in_transaction_ms=200))()
    ) as stuck:
        cursor = stuck.cursor()
        cursor.execute("SELECT 1")
        until(lambda: not struggle.query(f"{SESSIONS} WHERE pid = %s", stuck.get_backend_pid()))
        with pytest.raises(psycopg2.Error) as ended:
            cursor.execute("SELECT 1")
    assert classify(ended.value) is Verdict.RETRY


def test_sessions_of_a_batch_that_was_rolled_back_are_created_when_it_is_tried_again(struggle: Struggle) -> None:
    struggle.fail(failing_with("40001"))
    struggle.academy.tell(SESSION_ATTENDANCE, presence(1, 21))
    assert struggle.retried == ["40001"]
    assert struggle.query("SELECT id FROM sessions WHERE id = 21") == [(21,)]


def test_new_sessions_are_created_ids_ascending_and_waited_for_while_somebody_else_creates_them(
    struggle: Struggle,
) -> None:
    academy = struggle.academy
    academy.publish(SESSION_ATTENDANCE, presence(1, 23), presence(1, 22))
    recording = threading.Thread(target=academy.deliver, name="recording")
    create = "INSERT INTO sessions (id, title, held_at) VALUES (%s, 'made by another', now()) ON CONFLICT DO NOTHING"
    with closing(psycopg2.connect(academy.url)) as rival, rival.cursor() as cursor:
        cursor.execute(create, (22,))
        recording.start()
        struggle.until_somebody_waits()
        # Had the ledger begun with 23, this would be a deadlock.
        cursor.execute(create, (23,))
        rival.commit()
        recording.join(PATIENCE_SECONDS)
    assert not recording.is_alive()
    assert struggle.query("SELECT DISTINCT title FROM sessions WHERE id IN (22, 23)") == [("made by another",)]
    assert (struggle.retried, struggle.dead_letters(), struggle.differences()) == ([], [], 0)


def test_a_deadlock_with_a_rival_ends_one_of_them_and_loses_nothing(struggle: Struggle) -> None:
    struggle.query("INSERT INTO users (id) VALUES (31), (32)")
    academy = struggle.academy
    academy.publish(SESSION_ATTENDANCE, presence(32, 18), presence(31, 18))
    recording = threading.Thread(target=academy.deliver, name="recording")
    rival_lost = False
    with closing(psycopg2.connect(academy.url)) as rival, rival.cursor() as cursor:
        cursor.execute("SELECT 1 FROM users WHERE id = 32 FOR UPDATE")
        recording.start()
        struggle.until_somebody_waits()
        try:
            # The ledger holds user 31 by now: it locks in ascending order, whatever the order of the events.
            cursor.execute("SELECT 1 FROM users WHERE id = 31 FOR UPDATE")
        except psycopg2.errors.DeadlockDetected:
            rival_lost = True
        rival.rollback()
        recording.join(PATIENCE_SECONDS)
    assert not recording.is_alive()
    assert struggle.retried == ([] if rival_lost else ["40P01"]), "Postgres chooses one of the two"
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def test_rows_are_locked_users_ascending_then_progress_then_licenses(struggle: Struggle) -> None:
    academy = struggle.academy
    academy.tell(SESSION_ATTENDANCE, *[presence(user, 19) for user in (41, 45, 49)])
    academy.publish(SESSION_ATTENDANCE, *[presence(user, 20) for user in (49, 45, 41)])
    recording = threading.Thread(target=academy.deliver, name="recording")

    def free(table: str, user: str) -> list[int]:
        """Whose rows nobody has locked."""
        rows = struggle.query(
            f"SELECT {user} FROM {table} WHERE {user} BETWEEN 41 AND 49 ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED"
        )
        return [user_id for (user_id,) in rows]

    tables = (("users", "id"), ("specialization_progress", "student_id"), ("user_licenses", "user_id"))
    found = []
    with ExitStack() as stack:
        holders = [stack.enter_context(closing(psycopg2.connect(academy.url))) for _ in tables]
        for holder, (table, user) in zip(holders, tables, strict=True):
            holder.cursor().execute(f"SELECT 1 FROM {table} WHERE {user} = 45 FOR UPDATE")
        recording.start()
        for holder, (table, user) in zip(holders, tables, strict=True):
            # Our look at rows waits for none, so whoever waits is the ledger, for the row that is held there.
            until(lambda table=table, user=user: 49 in free(table, user) and 41 not in free(table, user))
            struggle.until_somebody_waits()
            found.append([free(*each) for each in tables])
            holder.rollback()
        recording.join(PATIENCE_SECONDS)
    assert found == [[[49], [41, 49], [41, 49]], [[], [49], [41, 49]], [[], [], [49]]]
    assert (struggle.dead_letters(), struggle.differences()) == ([], 0)


def refuse(struggle: Struggle, user_id: int, code: str) -> None:
    """Have the database refuse what this user earns."""
    struggle.query(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'never' USING ERRCODE = '{code}'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON xp_transactions"
        f" FOR EACH ROW WHEN (NEW.user_id = {user_id}) EXECUTE FUNCTION fail()"
    )


@pytest.mark.parametrize("code", ["22003", "22P02", "23505", "23514"])
def test_values_and_constraints_that_an_event_violates_are_that_events_fault(struggle: Struggle, code: str) -> None:
    refuse(struggle, 78, code)
    struggle.academy.tell(SESSION_ATTENDANCE, presence(78, int(code, 36)))
    assert struggle.dead_letters() == [(78, "refused_by_database", f"SQLSTATE {code}")]
    assert (struggle.retried, struggle.differences()) == ([], 0)


def test_an_adjustment_that_the_database_refuses_is_nobodys_fault_and_stops(struggle: Struggle) -> None:
    academy = struggle.academy
    academy.tell(SESSION_ATTENDANCE, presence(79, 18))
    default = load_default()
    present = default.content.attendance["present"]
    statuses = {**default.content.attendance, "present": structs.replace(present, xp=present.xp + 5)}
    generous = from_canonical_json(to_canonical_json(structs.replace(default.content, attendance=statuses)))
    refuse(struggle, 79, "22003")
    again = academy.delivery(record(SESSION_ATTENDANCE, 0, presence(79, 18)))
    with pytest.raises(MustStop, match="refuses an adjustment"):
        academy.ledger.record(Batch([again], rule_change=RuleChange("0" * 8, generous, allow_decrease=False)))
    assert struggle.dead_letters() == []


def test_an_event_that_the_database_refuses_in_a_batch_of_4000_is_a_dead_letter_alone(struggle: Struggle) -> None:
    refuse(struggle, 77, "22003")
    events = [presence(user, session) for session in range(1, 41) for user in range(100, 200)]
    struggle.academy.tell(SESSION_ATTENDANCE, *events[:2_000], presence(77, 1), *events[2_000:])
    assert struggle.dead_letters() == [(77, "refused_by_database", "SQLSTATE 22003")]
    of_these = "FROM xp_transactions WHERE user_id BETWEEN 100 AND 199"
    assert struggle.query(f"SELECT count(*), sum(amount) {of_these}") == [(4_000, 80_000)]
    assert (struggle.retried, struggle.differences()) == ([], 0)
