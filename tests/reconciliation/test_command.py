"""`laurels reconcile` says what is wrong in words and numbers, stands in nobody's way, and goes on where it was stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest

from schemas.alerts import fingerprint
from sinks.invariants.sweeping import ask_for_sweep
from streams.reconciliation import ALL, CHUNK_USERS, sweep
from tests.interrupting import interruptible
from tests.reconciliation.conftest import Laurels
from tests.reconciliation.season import GRACE, USERS, firing, run

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90


def break_balances(url: str, *users: int) -> None:
    for user in users:
        run(url, f"UPDATE users SET xp_balance = xp_balance + 7, credit_balance = credit_balance + 9 WHERE id = {user}")


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until_waiting(url: str) -> None:
    """Wait until a session waits for a lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while run(url, WAITING) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_where_everything_holds_it_says_so_and_exits_with_0(season: str, laurels: Laurels) -> None:
    assert laurels(season, "--json") == (0, {"users": len(USERS), "after": 0, "violations": [], "differences": []})
    code, printed = laurels(season)
    assert (code, "0 violations; 3 users checked" in printed) == (0, True)


def test_what_is_wrong_is_listed_with_what_was_expected_and_found_and_exits_with_1(
    season: str, laurels: Laurels
) -> None:
    ((balance,),) = run(season, "SELECT xp_balance FROM users WHERE id = 6")
    run(season, "UPDATE users SET xp_balance = xp_balance + 7 WHERE id = 6")
    code, told = laurels(season, "--json")
    assert code == 1
    assert told["violations"] == [
        {
            "invariant": "INV-R01",
            "severity": "critical",
            "subject": "user 6",
            "expected": str(balance),
            "found": str(int(str(balance)) + 7),
            "labels": {"user_id": "6"},
        }
    ]
    assert firing(season) == [("INV-R01", "user 6")]
    code, printed = laurels(season)
    assert (code, "INV-R01" in printed, "1 violations; 3 users checked" in printed) == (1, True, True)


def test_only_the_invariants_that_are_named_are_checked(season: str, laurels: Laurels) -> None:
    break_balances(season, 5)
    code, told = laurels(season, "--invariant", "INV-R02", "--invariant", "INV-R05", "--json")
    assert (code, [one["invariant"] for one in told["violations"]]) == (1, ["INV-R02"])
    assert firing(season) == [("INV-R02", "user 5")]
    assert laurels(season, "--invariant", "INV-R05", "--json")[0] == 0


def test_only_the_user_that_is_named_is_checked(season: str, laurels: Laurels) -> None:
    break_balances(season, 5, 6)
    code, told = laurels(season, "--user", "6", "--invariant", "INV-R01", "--json")
    assert (code, told["users"]) == (1, 1)
    assert [(one["invariant"], one["subject"]) for one in told["violations"]] == [("INV-R01", "user 6")]
    assert laurels(season, "--user", "7", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--invariant", "INV-R99"), 3, "there is no invariant 'INV-R99': known are INV-R01, INV-R02"),
        (("--user", "999"), 3, "there is no user 999"),
        (("--user", "0"), 2, "--user"),
        (("--user", "x"), 2, "--user"),
        (("--user", "5", "--resume"), 2, "--resume"),
        (("--follow", "--full"), 2, "--follow"),
        (("--follow", "--json"), 2, "--follow"),
    ],
)
def test_wrong_use_is_refused_by_name(
    season: str, laurels: Laurels, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, printed = laurels(season, *arguments)
    assert (found, said in printed) == (code, True), printed


def test_the_topics_cannot_be_compared_without_kafka_and_that_is_said_first(
    season: str, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    break_balances(season, 5)
    code, printed = laurels(season, "--full")
    assert (code, "KAFKA_BOOTSTRAP_SERVERS is not set" in printed) == (3, True)
    assert firing(season) == []


def test_a_second_one_that_would_compare_with_the_topics_is_refused_before_it_looks(
    season: str, laurels: Laurels, bootstrap_servers: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    command = [sys.executable, "-m", "ops.cli", "reconcile", "--full"]
    with closing(psycopg2.connect(season)) as rival, rival.cursor() as cursor:
        # The first one cannot look at the alerts yet.
        cursor.execute("LOCK TABLE reward_alerts IN ACCESS EXCLUSIVE MODE")
        first = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"DATABASE_URL": season}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_until_waiting(season)
        code, printed = laurels(season, "--full")
        assert (code, "another `laurels reconcile --full` is comparing" in printed) == (3, True), printed
        assert printed.count("\n") == 1
        rival.rollback()
    out, err = first.communicate(timeout=PATIENCE_SECONDS)
    assert (first.returncode, b"3 users checked" in out) == (0, True), (out, err)
    assert laurels(season, "--full")[0] == 0


def test_a_postgres_that_is_away_is_no_violation(laurels: Laurels) -> None:
    code, printed = laurels("postgresql://nobody@127.0.0.1:1/none", "--json")
    assert (code, printed.startswith("laurels: ")) == (3, True)


# What follows is about sweeps of many users, some of them broken.


@pytest.fixture
def many(database_url: str) -> str:
    """Users of two chunks and a bit; the first of each chunk has a balance that nothing explains."""
    run(
        database_url,
        f"INSERT INTO users (id, xp_balance) SELECT n, CASE n % {CHUNK_USERS} WHEN 1 THEN 5 ELSE 0 END"
        f" FROM generate_series(1, {2 * CHUNK_USERS + 1}) AS n",
    )
    return database_url


BROKEN = [1, CHUNK_USERS + 1, 2 * CHUNK_USERS + 1]


def test_a_sweep_that_is_under_way_keeps_nobody_from_writing(many: str) -> None:
    written: list[int] = []

    def write(_users: int, _of: int) -> None:
        run(many, "SET lock_timeout = '1s'", "UPDATE users SET xp_balance = xp_balance", "DELETE FROM outbox")
        written.append(1)

    sweep(lambda: psycopg2.connect(many), GRACE, progressed=write)
    assert len(written) == len(BROKEN)


def test_a_sweep_waits_for_nobody_who_writes(many: str, laurels: Laurels) -> None:
    with closing(psycopg2.connect(many)) as writer, writer.cursor() as cursor:
        cursor.execute("LOCK TABLE users, specialization_progress, user_licenses IN ROW EXCLUSIVE MODE")
        cursor.execute("UPDATE users SET xp_balance = 0")
        cursor.execute("SELECT id FROM users FOR UPDATE")
        code, told = laurels(many, "--json")
        writer.rollback()
    assert (code, [one["subject"] for one in told["violations"]]) == (1, [f"user {user}" for user in BROKEN])


def test_interrupted_by_ctrl_c_it_goes_on_with_resume(many: str, laurels: Laurels) -> None:
    command = [sys.executable, "-m", "ops.cli", "reconcile", "--json"]
    with closing(psycopg2.connect(many)) as rival, rival.cursor() as cursor:
        # The alert about the second chunk's user has to wait for the rival's.
        cursor.execute(
            "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)"
            " VALUES (%s, 'INV-R01', 'x', 'critical', 'firing', '{}', '{}')",
            (fingerprint("INV-R01", f"user {BROKEN[1]}"),),
        )
        environ = os.environ | {"DATABASE_URL": many}
        with interruptible():
            sweeping = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until_waiting(many)
        sweeping.send_signal(signal.SIGINT)
        rival.rollback()
    out, err = sweeping.communicate(timeout=PATIENCE_SECONDS)
    assert (sweeping.returncode, out) == (130, b"")
    assert b"--resume" in err
    assert b"Traceback" not in err
    assert firing(many) == [("INV-R01", "user 1")]
    # Another sweep for something else neither goes on from there nor forgets it.
    assert sweep(lambda: psycopg2.connect(many), GRACE).after == 0
    code, told = laurels(many, "--resume", "--json")
    assert (code, told["after"], told["users"]) == (1, CHUNK_USERS, CHUNK_USERS + 1)
    assert [one["subject"] for one in told["violations"]] == [f"user {user}" for user in BROKEN[1:]]
    assert set(firing(many)) == {("INV-R01", f"user {user}") for user in BROKEN}
    assert laurels(many, "--resume", "--json")[1]["users"] == 2 * CHUNK_USERS + 1


class Killed(Exception):
    """What ends a sweep in a test."""


def swept_from(
    url: str, *, wanted: tuple[str, ...] = ALL, killed: bool = False, meanwhile: Callable[[], object] = bool
) -> int:
    """Sweep, and say after which user it began; `killed` after two chunks, with something done meanwhile."""
    chunks: list[int] = []

    def progressed(users: int, _of: int) -> None:
        chunks.append(users)
        if len(chunks) == 1:
            meanwhile()
        if killed and len(chunks) == 2:
            raise Killed

    try:
        return sweep(lambda: psycopg2.connect(url), GRACE, wanted=wanted, progressed=progressed).after
    except Killed:
        return -1


def test_a_sweep_that_was_killed_is_gone_on_with_by_the_next_one_once(many: str) -> None:
    swept_from(many, killed=True)
    assert swept_from(many) == 2 * CHUNK_USERS
    assert swept_from(many) == 0


def test_a_sweep_for_other_invariants_begins_with_the_first_user(many: str) -> None:
    swept_from(many, killed=True)
    assert swept_from(many, wanted=("INV-R01",)) == 0


def test_nobody_goes_on_with_a_sweep_of_long_ago(many: str) -> None:
    swept_from(many, killed=True)
    run(many, f"UPDATE scheduled_runs SET started_at = started_at - interval '{timedelta(minutes=61)}'")
    assert swept_from(many) == 0


def test_a_sweep_that_is_asked_for_meanwhile_begins_with_the_first_user_whatever_becomes_of_this_one(many: str) -> None:
    def ask() -> None:
        with closing(psycopg2.connect(many)) as connection, connection, connection.cursor() as cursor:
            ask_for_sweep(cursor)

    swept_from(many, killed=True, meanwhile=ask)
    assert swept_from(many) == 0
