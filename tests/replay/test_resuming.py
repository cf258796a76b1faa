"""A replay that is killed, paused or cancelled, on a real broker and a real database."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ops.replay import running
from schemas.events import TOURNAMENT_RESULTS
from sinks.batch import Batch, Recorded
from sinks.ledger import Ledger
from tests.oracle.academy_log import Academy
from tests.replay.rows import EVENTS, Laurels, query, restore_empty

SECONDS = 120
HOLDING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'laurels-replay-%'"
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
    # Whose process is gone still runs the replay, until Postgres has noticed.
    deadline = time.monotonic() + SECONDS
    while query(os.environ["DATABASE_URL"], HOLDING):
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    record = Ledger.record

    def pause_after_two(ledger: Ledger, batch: Batch) -> Recorded:
        recorded = record(ledger, batch)
        assert batch.checkpoint is not None
        if batch.checkpoint.next_offsets == {f"{TOURNAMENT_RESULTS}/0": 6}:
            laurels("replay", "pause", batch.checkpoint.run_id)
        return recorded

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record", pause_after_two)
        halted = laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, exits=1)
        assert (halted["status"], halted["events"]) == ("paused", 6)
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"], shown["events"]) == ("paused", 6, 14)
    assert laurels("replay", "resume", shown["id"])["events"] == 8
    assert "is done" in laurels("replay", "cancel", shown["id"], exits=3)
    audited = query(academy.url, "SELECT action FROM audit_log WHERE subject LIKE 'replay %' ORDER BY id")
    assert audited == [("replay.applied",), ("replay.paused",), ("replay.running",)]


def test_an_interrupted_replay_can_be_resumed(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_empty(academy, [1, 2])
    with monkeypatch.context() as patched:

        def interrupt(_ledger: Ledger, _batch: Batch) -> Recorded:
            raise KeyboardInterrupt

        patched.setattr(Ledger, "record", interrupt)
        laurels("replay", "apply", exits=130)
    (shown,) = laurels("replay", "status")["replays"]
    assert (shown["status"], shown["done"], shown["error"]) == ("paused", 0, "interrupted")
    laurels("replay", "resume", shown["id"])
    assert laurels("verify")["differences"] == []


def test_a_cancelled_replay_keeps_what_it_recorded_and_never_goes_on(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_empty(academy, [1, 2])
    monkeypatch.setattr(running, "AT_ONCE", 3)
    record = Ledger.record

    def cancel_after_one(ledger: Ledger, batch: Batch) -> Recorded:
        recorded = record(ledger, batch)
        assert batch.checkpoint is not None
        laurels("replay", "cancel", batch.checkpoint.run_id)
        return recorded

    monkeypatch.setattr(Ledger, "record", cancel_after_one)
    cancelled = laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, exits=1)
    assert cancelled["status"] == "cancelled"
    receipts = query(academy.url, "SELECT count(*) FROM reward_receipts WHERE origin = 'replay'")
    assert receipts == [(cancelled["counts"]["recorded"],)] != [(0,)]
    assert "is cancelled" in laurels("replay", "resume", cancelled["run"], exits=3)
