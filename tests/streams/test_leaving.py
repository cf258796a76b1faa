"""Workers come and go, Postgres too: nothing is lost, and nothing is written twice."""

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.streams.stage import UNHURRIED, Stage, WorkerProcess, once_each, presences

MANY = presences(range(1, 11), range(1, 601))
"""More than a worker has in hand at any time."""
SHARED = "SELECT partition FROM partition_positions GROUP BY partition HAVING count(DISTINCT owner) > 1"


def test_sigterm_leaves_with_what_is_in_hand_finished(stage: Stage) -> None:
    stage.publish(MANY)
    with stage.holding_batches():
        worker = stage.worker(command=UNHURRIED, batch_events=1_000)
        stage.wait_until_held()
        worker.signal(signal.SIGTERM)
    assert worker.ended() == 0, worker.said
    assert 0 < sum(stage.sessions_recorded().values()) == stage.positions()[0] < len(MANY)
    assert stage.acknowledged() == stage.positions()[0]
    assert stage.query("SELECT count(*) FROM partition_positions WHERE owner IS NOT NULL") == [(0,)]
    assert worker.said.count("Traceback") == 0
    assert [path for path in worker.log.parent.iterdir() if path.is_dir()] == [], "it leaves nothing behind"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_that_join_and_leave_in_the_middle_of_a_batch_record_everything_once(
    make_stage: Callable[[int], Stage], workers: int
) -> None:
    stage = make_stage(4)
    events = presences(range(1, 21), range(1, 101))

    def team() -> list[WorkerProcess]:
        return [stage.worker(command=UNHURRIED, batch_events=100) for _ in range(workers)]

    leaving = team()
    stage.wait_until(lambda: owners(stage) == workers)
    with stage.holding_batches():
        stage.publish(events)
        stage.wait_until_held()
        joining = team()
        stage.wait_until(lambda: stage.members() == 2 * workers)
        for worker in leaving:
            worker.signal(signal.SIGTERM)
    for worker in leaving:
        assert worker.ended() == 0, worker.said
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)
    assert all(worker.runs for worker in joining)
    assert "OPS-03" not in stage.alerts(), "what was in hand was recorded before its partition went to somebody else"
    stage.wait_until_claimed()
    assert stage.query(SHARED) == [], "partitions of one number, which hold the same users, are with one worker"


def owners(stage: Stage) -> int:
    ((count,),) = stage.query("SELECT count(DISTINCT owner) FROM partition_positions")
    return int(count)


def test_a_season_under_kill_9_is_recorded_once(make_stage: Callable[[int], Stage]) -> None:
    stage = make_stage(2)
    events = presences(range(1, 41), range(1, 76))
    chance = random.Random(7)
    stage.publish([*events, *chance.sample(events, 150)])
    stage.publish_raw([("1", b"poison", None)] * 30)
    team = [stage.worker(batch_events=50), stage.worker(batch_events=50)]
    ends = stage.end_offsets()
    for _ in range(3):
        done = sum(stage.positions())
        stage.wait_until(lambda done=done: sum(stage.positions()) > done or stage.is_read(ends))
        victim = chance.randrange(2)
        team[victim].kill()
        team[victim] = stage.worker(batch_events=50)
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)
    assert stage.query("SELECT count(*) FROM dead_letters") == [(30,)]


def test_an_outage_of_postgres_is_waited_for_without_leaving_the_group(stage: Stage) -> None:
    events = presences(range(1, 6), range(1, 21))
    # Kafka is not to give it up, however busy the machine is.
    worker = stage.worker(session_timeout_seconds=60)
    stage.wait_until_claimed()
    epochs = stage.query("SELECT epoch FROM partition_positions ORDER BY topic")
    name = stage.database_url.rsplit("/", 1)[1]
    stop_connections(stage, name, allowed=False)
    stage.publish(events)
    stage.wait_until(lambda: worker.said.count("waits for Postgres") > 1)
    stop_connections(stage, name, allowed=True)
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)
    assert stage.query("SELECT epoch FROM partition_positions ORDER BY topic") == epochs
    assert worker.runs


def stop_connections(stage: Stage, name: str, *, allowed: bool) -> None:
    """What a restart does to whoever is connected, on a Postgres that others use too."""
    stage.administer(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}')
    if not allowed:
        stage.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def test_a_worker_that_cannot_finish_its_batch_leaves_all_the_same_without_acknowledging_it(stage: Stage) -> None:
    worker = stage.worker(retry_for_seconds=3600)
    stage.wait_until_claimed()
    name = stage.database_url.rsplit("/", 1)[1]
    stop_connections(stage, name, allowed=False)
    stage.publish(events := presences([1], range(1, 6)))
    stage.wait_until(lambda: worker.said.count("waits for Postgres") > 1)
    assert worker.stop() == 3
    assert "had to leave before what it had in hand was recorded" in worker.said
    assert stage.acknowledged() is None
    stop_connections(stage, name, allowed=True)
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)


def test_an_outage_that_outlasts_the_patience_stops_the_worker_unacknowledged(stage: Stage) -> None:
    events = presences([1], range(1, 6))
    worker = stage.worker(retry_for_seconds=1)
    stage.wait_until_claimed()
    name = stage.database_url.rsplit("/", 1)[1]
    stop_connections(stage, name, allowed=False)
    stage.publish(events)
    assert worker.ended() == 3
    assert "Postgres did not serve for 1 s" in worker.said
    assert stage.acknowledged() is None
    stop_connections(stage, name, allowed=True)
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(events)


def test_a_full_outbox_holds_recording_until_it_is_relayed(stage: Stage) -> None:
    stage.publish(presences([1], range(1, 31)))
    stage.worker(outbox_limit=20)
    stage.wait_until_read()
    stage.wait_until(lambda: "OPS-05" in stage.alerts())
    # So few that, with what is told of the alert, they fill it no second time.
    stage.publish(presences([1], range(31, 36)))
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert stage.positions() == [30]
        time.sleep(0.05)
    stage.query("DELETE FROM outbox")
    stage.wait_until_read()
    stage.wait_until(lambda: "OPS-05" not in stage.alerts())
