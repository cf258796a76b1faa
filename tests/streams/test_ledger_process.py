"""A worker's ledgers are processes of their own, and live and die with it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from sqlalchemy import make_url

from schemas.errors import DatabaseUnavailable, Fenced, MustStop, TooManyDeadLetters
from schemas.events import SESSION_ATTENDANCE
from sinks.batch import Claim, Recorded
from sinks.database import Timeouts
from sinks.ledger import Identity, RetryPolicy
from streams.intake import Gathered, Record
from streams.ledger_process import LedgerProcess, Opening
from tests.streams.stage import UNHURRIED, Stage, once_each, presences


def test_a_ledger_that_dies_ends_its_worker_and_the_next_one_records_everything_once(stage: Stage) -> None:
    events = presences(range(1, 6), range(1, 41))
    worker = stage.worker(batch_events=10)
    stage.wait_until_claimed()
    stage.wait_until(lambda: len(worker.ledgers()) == 2)
    for ledger in worker.ledgers():
        ledger.kill()
    stage.publish(events)
    assert worker.ended() == 3
    assert "the ledger's process ended by itself, with -9" in worker.said
    assert "OPS-10" in stage.alerts()
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)


def test_a_worker_that_is_killed_takes_its_ledgers_with_it(stage: Stage) -> None:
    worker = stage.worker()
    stage.wait_until_claimed()
    # One of them is in the middle of a batch, for as long as it is held.
    with stage.holding_batches():
        stage.publish(presences([1], [1]))
        stage.wait_until_held()
        ledgers = worker.ledgers()
        assert len(ledgers) == 2
        worker.kill()
        stage.wait_until(lambda: not any(map(runs, ledgers)))


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended, reaped or not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_reaches_the_whole_group_and_the_batch_is_finished(stage: Stage) -> None:
    events = presences(range(1, 11), range(1, 601))
    stage.publish(events)
    with stage.holding_batches():
        worker = stage.worker(command=UNHURRIED, batch_events=1_000)
        stage.wait_until_held()
        worker.interrupt()
    assert worker.ended() == 0, worker.said
    assert 0 < sum(stage.sessions_recorded().values()) == stage.positions()[0] < len(events)


def test_a_partition_that_waits_keeps_no_other_lane_waiting(make_stage: Callable[[int], Stage]) -> None:
    stage = make_stage(2)
    # So patient that the one that waits cannot let the other one through by giving up.
    stage.worker(batch_events=100, database_lock_timeout_ms=600_000, database_statement_timeout_ms=600_000)
    stage.wait_until_claimed()
    publish(stage, presences([4], [1]), partition=0)
    publish(stage, presences([5], [1]), partition=1)
    stage.wait_until_read()
    with closing(psycopg2.connect(stage.database_url)) as rival, rival.cursor() as cursor:
        cursor.execute("SELECT 1 FROM users WHERE id = 4 FOR UPDATE")
        publish(stage, presences([4], range(2, 6000)), partition=0)
        publish(stage, presences([5], range(2, 6)), partition=1)
        stage.wait_until(lambda: stage.sessions_recorded()[5, 5] == 1)
        assert stage.sessions_recorded()[4, 2] == 0
    stage.wait_until_read()
    assert sum(stage.sessions_recorded().values()) == 5999 + 5


def publish(stage: Stage, events: list[dict[str, Any]], *, partition: int) -> None:
    stage.publish_raw([(str(event["user_id"]), json.dumps(event).encode(), partition) for event in events])


@pytest.fixture
def open_ledger() -> Iterator[Callable[[str], LedgerProcess]]:
    """Opens a ledger's process on a database that is given by its URL."""
    with ExitStack() as stack:

        def open_(url: str) -> LedgerProcess:
            opening = Opening(
                database_url=url,
                timeouts=Timeouts(),
                identity=Identity("group", "me"),
                retry=RetryPolicy(seconds=0.2),
                dead_letters_in_a_row=2,
            )
            return stack.enter_context(closing(LedgerProcess(opening, on_retry=retried.append)))

        retried.clear()
        yield open_


retried: list[str] = []


def gathered(*values: bytes, claims: Sequence[Claim] = ()) -> Gathered:
    now = round(time.time() * 1000)
    records = [
        Record(SESSION_ATTENDANCE, 0, offset, "cluster/topic", b"1", value, (), now)
        for offset, value in enumerate(values)
    ]
    return Gathered(records, claims, frozenset({"PLAYER"}))


def test_what_the_ledger_refuses_is_refused_in_the_worker_with_all_that_it_says(
    database_url: str, open_ledger: Callable[[str], LedgerProcess]
) -> None:
    with pytest.raises(Fenced) as refusal:
        open_ledger(database_url).record(gathered(claims=[Claim(SESSION_ATTENDANCE, 3, 1, 0, 1)]))
    assert (refusal.value.topic, refusal.value.partition) == (SESSION_ATTENDANCE, 3)


def test_the_worker_hears_of_retries_before_it_hears_that_they_were_in_vain(
    database_url: str, open_ledger: Callable[[str], LedgerProcess]
) -> None:
    away = make_url(database_url).set(port=1).render_as_string(hide_password=False)
    with pytest.raises(DatabaseUnavailable, match=r"did not serve for 0\.2 s"):
        open_ledger(away).record(gathered(b"poison"))
    assert retried


def test_only_so_many_unreadable_records_in_a_row_become_dead_letters(
    database_url: str, open_ledger: Callable[[str], LedgerProcess]
) -> None:
    ledger = open_ledger(database_url)
    good = json.dumps(presences([1], [1])[0]).encode()
    assert ledger.record(gathered(b"poison", b"poison", good, b"poison", b"poison")) == Recorded(
        recorded=1, dead_letters=4
    )
    with pytest.raises(TooManyDeadLetters, match="more than 2 dead letters in a row"):
        ledger.record(gathered(b"poison"))


def test_what_lies_in_the_folder_that_a_worker_is_started_in_is_not_taken_for_ours(
    database_url: str, open_ledger: Callable[[str], LedgerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "streams.py").write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    assert open_ledger(database_url).record(gathered(b"poison")).dead_letters == 1


def test_what_nobody_foresaw_in_a_ledger_reaches_the_worker_by_name(
    database_url: str, open_ledger: Callable[[str], LedgerProcess]
) -> None:
    poison = gathered(b"poison")
    # No cluster has such an id: it is what stands for a mistake of ours.
    impossible = poison._replace(records=[poison.records[0]._replace(log_id="cluster\0topic")])
    ledger = open_ledger(database_url)
    with pytest.raises(MustStop, match="ValueError: A string literal cannot contain NUL"):
        ledger.record(impossible)
    assert ledger.record(poison).dead_letters == 1, "the process is still there"


def test_what_a_ledger_cannot_read_ends_it_and_is_not_waited_for(
    database_url: str, open_ledger: Callable[[str], LedgerProcess]
) -> None:
    ledger = open_ledger(database_url)
    ledger._connection.send_bytes(b"garbage")
    with pytest.raises(MustStop, match="ended by itself, with 1"):
        ledger.record(gathered(b"poison"))
