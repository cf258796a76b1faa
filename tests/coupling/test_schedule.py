"""Scheduled work: done by exactly one, when it is time."""

import threading
import time
from contextlib import closing

import pytest

from schemas.errors import LaurelsError
from sinks.schedule import ask_for_run
from streams.schedule import Schedule, Task, run_if_due
from streams.sync import sync_task
from tests.coupling.stand import Stand

HOUR = 3600.0


def test_of_several_that_could_exactly_one_does_it(stand: Stand) -> None:
    start = threading.Barrier(4)
    runs: list[str] = []
    done: list[bool] = []

    def work(owner: str) -> None:
        start.wait()
        task = Task("count", HOUR, lambda: {"run": runs.append(owner)})
        done.append(run_if_due(stand.connect, task, owner=owner))

    threads = [threading.Thread(target=work, args=(f"worker-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [False, False, False, True]
    assert len(runs) == 1
    assert stand.run("SELECT task, started_by, finished_at >= started_at FROM scheduled_runs") == [
        ("count", runs[0], True)
    ]


@pytest.mark.parametrize(
    ("since", "is_due"),
    [
        ("started_at = now() - interval '59 minutes'", False),
        ("started_at = now() - interval '61 minutes'", True),
        ("started_at = now() - interval '2 minutes', outcome = '{\"error\": \"x\"}'", True),
        ("started_at = now() - interval '2 minutes', finished_at = NULL", True),
        ("started_at = now() - interval '30 seconds', finished_at = NULL", False),
    ],
)
def test_it_is_done_again_when_it_is_time_and_sooner_where_it_failed(stand: Stand, since: str, *, is_due: bool) -> None:
    task = Task("count", HOUR, dict)
    assert run_if_due(stand.connect, task, owner="a")
    stand.run(f"UPDATE scheduled_runs SET {since}")
    assert run_if_due(stand.connect, task, owner="b") is is_due


def test_while_one_is_at_it_no_other_begins(stand: Stand) -> None:
    seen = []
    inner = Task("long", 0.0, dict)
    outer = Task("long", 0.0, lambda: {"other": seen.append(run_if_due(stand.connect, inner, owner="b"))})
    assert run_if_due(stand.connect, outer, owner="a")
    assert seen == [False]
    assert run_if_due(stand.connect, inner, owner="b")


def test_what_is_asked_for_is_done_at_once_and_again_if_somebody_was_at_it(stand: Stand) -> None:
    def ask() -> dict[str, object]:
        with closing(stand.connect()) as connection, connection, connection.cursor() as cursor:
            ask_for_run(cursor, "count")
        return {}

    assert run_if_due(stand.connect, Task("count", HOUR, ask), owner="a")
    quiet = Task("count", HOUR, dict)
    assert [run_if_due(stand.connect, quiet, owner="b") for _ in range(2)] == [True, False]


def test_a_failure_is_kept_and_raised_at_nobody(stand: Stand) -> None:
    def fail() -> dict[str, object]:
        raise LaurelsError("no luck")

    assert run_if_due(stand.connect, Task("fails", HOUR, fail), owner="a")
    assert stand.run("SELECT outcome FROM scheduled_runs") == [({"error": "LaurelsError: no luck"},)]


def test_a_scheduled_sync_mends_what_there_is(stand: Stand) -> None:
    stand.part(1, "PLAYER", 2, 3)
    schedule = Schedule(stand.connect, [sync_task(stand.connect, stand.open_ledger, every_seconds=HOUR)], owner="a")
    schedule.start()
    deadline = time.monotonic() + 60
    while not (outcomes := stand.run("SELECT outcome FROM scheduled_runs WHERE finished_at IS NOT NULL")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    schedule.stop(timeout_seconds=60)
    assert outcomes[0][0]["synced"] == 1
    assert stand.levels(1) == (2, 2)
    assert stand.run("SELECT DISTINCT actor FROM audit_log") == [("schedule",)]
    again = sync_task(stand.connect, stand.open_ledger, every_seconds=0.0)
    assert again.run() == {}
    assert stand.run("SELECT count(*) FROM sync_plans") == [(1,)]
