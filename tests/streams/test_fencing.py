"""A worker that lost its partitions cannot write, and one that stepped over a record does not go on."""

import signal
import sys
import threading
from contextlib import suppress

import psycopg2

from tests.streams.stage import ROOT, Stage, once_each, presences

EVENTS = presences(range(1, 6), range(1, 41))


def test_a_worker_that_slept_while_its_partition_moved_is_fenced_and_joins_again(stage: Stage) -> None:
    sleeper = stage.worker(batch_events=5)
    stage.wait_until_claimed()
    stage.publish(EVENTS)
    stage.wait_until(lambda: stage.positions()[0] > 0)
    sleeper.signal(signal.SIGSTOP)
    stage.worker()
    stage.wait_until_read()
    sleeper.signal(signal.SIGCONT)
    stage.publish(more := presences([7], range(100, 130)))
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each([*EVENTS, *more])
    assert sleeper.runs


def test_a_fenced_worker_says_so_and_records_on_under_a_new_epoch(stage: Stage) -> None:
    worker = stage.worker()
    stage.wait_until_claimed()
    # What another worker does when it takes over, without this one's group hearing of it.
    stage.query("UPDATE partition_positions SET owner = 'rival', epoch = nextval('partition_epochs')")
    stage.publish(EVENTS)
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)
    assert worker.runs
    assert "OPS-03" in stage.alerts()


class Asleep:
    """What a COPY reads from in a process that sleeps: a first block, and then nothing for a long time."""

    def __init__(self) -> None:
        self.awake = threading.Event()
        self.blocks = 0

    def read(self, _size: int = -1, /) -> bytes:
        self.blocks += 1
        if self.blocks > 1:
            self.awake.wait()
            return b""
        return b"1\n"

    readline = read


def test_a_worker_that_sleeps_in_the_middle_of_a_copy_does_not_keep_its_partitions(stage: Stage) -> None:
    worker = stage.worker()
    stage.wait_until_claimed()
    worker.kill()
    sleeper = psycopg2.connect(stage.database_url)
    asleep = Asleep()
    with sleeper.cursor() as cursor:
        cursor.execute("UPDATE partition_positions SET next_offset = 1000")
        cursor.execute("CREATE TEMP TABLE staging (number int)")

        def copy() -> None:
            with suppress(psycopg2.Error):
                cursor.copy_expert("COPY staging FROM STDIN", asleep)

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        stage.publish(EVENTS)
        stage.worker()
        try:
            stage.wait_until_read()
        finally:
            asleep.awake.set()
            thread.join(60)
    assert sleeper.closed, "what it wrote is rolled back"
    assert stage.sessions_recorded() == once_each(EVENTS)


FAILS_ONCE = """
from streams import recorder
gather = recorder.Recorder.gather
def failing(self, topic, chunk):
    recorder.Recorder.gather = gather
    raise RuntimeError("nobody foresaw this")
recorder.Recorder.gather = failing
from ops.cli import main
main(["worker", "--no-relay"])
"""

DROPS_A_CHUNK = """
import sys
from streams import recorder
gather = recorder.Recorder.gather
def lossy(self, topic, chunk):
    if chunk.from_offset:
        gather(self, topic, chunk)
recorder.Recorder.gather = lossy
from ops.cli import main
main(["worker", "--no-relay"])
"""

DROPS_ONE = """
import sys
from streams import recorder
gather = recorder.Recorder.gather
def lossy(self, topic, chunk):
    gather(self, topic, chunk._replace(records=[record for record in chunk.records if record.offset != 20]))
recorder.Recorder.gather = lossy
from ops.cli import main
main(["worker", "--no-relay"])
"""


def test_an_agent_that_fails_stops_the_worker_and_is_not_begun_again_after_what_it_lost(stage: Stage) -> None:
    stage.publish(EVENTS)
    worker = stage.worker(command=[sys.executable, "-c", FAILS_ONCE])
    assert worker.ended() == 3
    assert "RuntimeError: nobody foresaw this" in worker.said
    assert stage.positions() == [0]
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_a_record_that_gets_lost_on_the_way_to_the_ledger_stops_the_worker(stage: Stage) -> None:
    stage.publish(EVENTS)
    worker = stage.worker(command=[sys.executable, "-c", DROPS_ONE])
    assert worker.ended() == 3
    assert "200 records came, and 199 are left" in worker.said
    assert stage.positions() in ([], [0])
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_records_that_get_lost_together_stop_the_worker(stage: Stage) -> None:
    stage.publish(EVENTS[:50])
    worker = stage.worker(command=[sys.executable, "-c", DROPS_A_CHUNK])
    stage.wait_until_claimed()
    stage.publish(EVENTS[50:])
    assert worker.ended() == 3
    assert "but what comes next is 0" in worker.said
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


def test_a_position_that_somebody_moves_stops_the_worker(stage: Stage) -> None:
    stage.publish(EVENTS)
    worker = stage.worker()
    stage.wait_until_read()
    stage.query("UPDATE partition_positions SET next_offset = 10")
    stage.publish(presences([8], [1]))
    assert worker.ended() == 3
    assert "the position is 10" in worker.said
    assert str(ROOT) not in worker.said.splitlines()[-1]
