"""A replay that is killed, paused or cancelled, on a real broker and a real database."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psutil
import psycopg2
import pytest

from ops.replay import running
from schemas.events import TOURNAMENT_RESULTS
from sinks.batch import Recorded
from streams.intake import Gathered
from streams.ledger_process import LedgerProcess
from tests.interrupting import interruptible
from tests.oracle.academy_log import Academy
from tests.replay.rows import EVENTS, Laurels, query, restore_empty

SECONDS = 120
WAITING = """
SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'reward_receipts'::regclass
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
HOLDING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'laurels replay %'"
)


def killed_at(failpoint: str, *arguments: str) -> None:
    """Run the command until it dies there."""
    ended = subprocess.run(
        [sys.executable, "-m", "ops.cli", "replay", *arguments],
        env={**os.environ, "LAURELS_FAILPOINT": failpoint},
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    wait_until_let_go(os.environ["DATABASE_URL"])


def wait_until_let_go(url: str) -> None:
    """Whose process is gone still runs the replay, until Postgres has noticed."""
    wait_until(lambda: not query(url, HOLDING))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


Begun = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begun(academy: Academy) -> Iterator[Begun]:
    """Begins a replay in a process of its own, and in a group of its own, as a shell would."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "ops.cli", "replay", *arguments]
            with interruptible():
                replay = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
                )
            stack.enter_context(replay)
            stack.callback(replay.kill)
            return replay

        yield begin


@contextmanager
def held(url: str) -> Iterator[None]:
    """Let no batch be recorded for as long as this lasts."""
    with closing(psycopg2.connect(url)) as rival, rival.cursor() as cursor:
        cursor.execute("LOCK TABLE reward_receipts IN ACCESS EXCLUSIVE MODE")
        yield


def is_held(url: str) -> bool:
    """Whether a batch waits for the end of `held`."""
    return bool(query(url, WAITING))


def test_a_replay_that_is_killed_again_and_again_ends_where_an_undisturbed_one_does(
    academy: Academy, laurels: Laurels
) -> None:
    balances = query(academy.url, "SELECT id, xp_balance, credit_balance FROM users ORDER BY id")
    restore_empty(academy, [1, 2, 3, 4, 5])
    killed_at("after_commit:1", "apply", "--rate", "9", "--parallel", "1")
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"]) == ("interrupted", 9)
    killed_at("before_commit:1", "resume", shown["id"])
    assert laurels("replay", "status", shown["id"])["replays"][0]["done"] == 9
    killed_at("after_commit:2", "resume", shown["id"])
    assert laurels("replay", "status", shown["id"])["replays"][0]["done"] == 27
    resumed = laurels("replay", "resume", shown["id"])
    assert (resumed["events"], resumed["status"]) == (EVENTS - 27, "done")
    assert query(academy.url, "SELECT id, xp_balance, credit_balance FROM users ORDER BY id") == balances
    assert laurels("verify")["differences"] == []


def test_a_paused_replay_goes_on_from_its_checkpoint(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_empty(academy, [1, 2])
    monkeypatch.setattr(running, "AT_ONCE", 3)
    begin = LedgerProcess.begin

    def pause_before_the_third(ledger: LedgerProcess, gathered: Gathered) -> None:
        assert gathered.checkpoint is not None
        if gathered.checkpoint.next_offsets == {f"{TOURNAMENT_RESULTS}/0": 9}:
            laurels("replay", "pause", gathered.checkpoint.run_id)
        begin(ledger, gathered)

    with monkeypatch.context() as patched:
        patched.setattr(LedgerProcess, "begin", pause_before_the_third)
        halted = laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, exits=1)
        assert (halted["status"], halted["events"]) == ("paused", 6)
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"], shown["events"]) == ("paused", 6, 14)
    assert laurels("replay", "resume", shown["id"])["events"] == 8
    assert "is done" in laurels("replay", "cancel", shown["id"], exits=3)
    audited = query(academy.url, "SELECT action FROM audit_log WHERE subject LIKE 'replay %' ORDER BY id")
    assert audited == [("replay.applied",), ("replay.paused",), ("replay.running",)]


def test_ctrl_c_reaches_the_whole_group_and_the_batch_is_finished(
    academy: Academy, laurels: Laurels, begun: Begun
) -> None:
    restore_empty(academy, [1, 2])
    with held(academy.url):
        replay = begun("apply", "--rate", "1")
        wait_until(lambda: is_held(academy.url))
        os.killpg(replay.pid, signal.SIGINT)
    _, told = replay.communicate(timeout=SECONDS)
    (shown,) = laurels("replay", "status")["replays"]
    assert (replay.returncode, shown["status"], shown["error"]) == (130, "paused", "interrupted"), told
    assert f"`laurels replay resume {shown['id']}` goes on" in told
    assert 0 < shown["done"] < EVENTS
    academy.tamper("UPDATE replay_runs SET request = request - 'rate'")
    laurels("replay", "resume", shown["id"])
    assert laurels("verify")["differences"] == []


def test_a_ledgers_process_that_dies_fails_the_run_and_the_rest_is_resumed(
    academy: Academy, laurels: Laurels, begun: Begun
) -> None:
    restore_empty(academy, [1, 2])
    with held(academy.url):
        replay = begun("apply")
        wait_until(lambda: is_held(academy.url))
        (ledger,) = psutil.Process(replay.pid).children()
        ledger.kill()
        _, told = replay.communicate(timeout=SECONDS)
    died = "the ledger's process ended by itself, with -9"
    assert (replay.returncode, f"laurels: {died}" in told) == (3, True), told
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"], shown["error"]) == ("failed", 0, died)
    assert laurels("replay", "resume", shown["id"])["counts"]["recorded"] == 19
    assert laurels("verify")["differences"] == []


def test_a_replay_that_is_killed_takes_its_ledgers_with_it(academy: Academy, laurels: Laurels, begun: Begun) -> None:
    with held(academy.url):
        replay = begun("apply")
        wait_until(lambda: is_held(academy.url))
        (ledger,) = psutil.Process(replay.pid).children()
        replay.kill()
        replay.wait()
        wait_until(lambda: not ledger.is_running() or ledger.status() == psutil.STATUS_ZOMBIE)
    wait_until_let_go(academy.url)
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"]) == ("interrupted", 0)
    assert laurels("replay", "resume", shown["id"])["status"] == "done"


def test_a_cancelled_replay_keeps_what_it_recorded_and_never_goes_on(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_empty(academy, [1, 2])
    monkeypatch.setattr(running, "AT_ONCE", 3)
    finish = LedgerProcess.finish

    def cancel_after_one(ledger: LedgerProcess) -> Recorded:
        recorded = finish(ledger)
        laurels("replay", "cancel", laurels("replay", "status")["replays"][0]["id"])
        return recorded

    monkeypatch.setattr(LedgerProcess, "finish", cancel_after_one)
    cancelled = laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, exits=1)
    assert cancelled["status"] == "cancelled"
    receipts = query(academy.url, "SELECT count(*) FROM reward_receipts WHERE origin = 'replay'")
    assert receipts == [(cancelled["counts"]["recorded"],)] != [(0,)]
    assert "is cancelled" in laurels("replay", "resume", cancelled["run"], exits=3)
