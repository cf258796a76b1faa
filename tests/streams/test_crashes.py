"""Killed at any step, a worker leaves everything recorded once, and nothing unrecorded acknowledged."""

import signal

import pytest

from schemas.events import SESSION_ATTENDANCE
from tests.streams.stage import Stage, once_each, presences

EVENTS = presences(range(1, 6), range(1, 41))


@pytest.mark.parametrize("step", ["before_commit", "after_commit", "after_ack"])
def test_a_crash_at_any_step_of_a_batch_records_everything_once(stage: Stage, step: str) -> None:
    stage.publish(EVENTS)
    first = stage.worker(failpoint=f"{step}:2", batch_events=50)
    assert first.ended() == -signal.SIGKILL
    assert sum(stage.sessions_recorded().values()) == (50 if step == "before_commit" else 100)
    stage.worker(batch_events=50)
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_a_worker_that_is_killed_in_the_middle_of_a_batch_records_everything_once(stage: Stage) -> None:
    stage.publish(EVENTS)
    with stage.holding_batches():
        first = stage.worker()
        stage.wait_until_held()
        first.kill()
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_events_that_come_again_change_nothing(stage: Stage) -> None:
    stage.publish(EVENTS)
    stage.publish(EVENTS)
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_poison_in_the_middle_costs_its_neighbours_nothing(stage: Stage) -> None:
    stage.publish(EVENTS[:100])
    stage.publish_raw([("1", b"\xff\xfe", None), ("9", b'{"user_id": 9}', None), ("2", b"", None)])
    stage.publish(EVENTS[100:])
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)
    letters = stage.query('SELECT reason, "offset" FROM dead_letters WHERE topic = %s ORDER BY 2', SESSION_ATTENDANCE)
    assert letters == [("undecodable", 100), ("invalid_event", 101), ("undecodable", 102)]


def test_too_many_dead_letters_in_a_row_stop_the_worker(stage: Stage) -> None:
    stage.publish_raw([("1", b"no json", None)] * 30)
    worker = stage.worker(dead_letter_limit=10)
    assert worker.ended() == 3
    assert "more than 10 dead letters in a row" in worker.said
    assert stage.positions()[0] <= 10
    assert "OPS-10" in stage.alerts()
