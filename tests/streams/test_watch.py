"""What a worker hears of although no topic brings it."""

import asyncio

from schemas.events import SESSION_ATTENDANCE
from sinks.batch import Recorded
from sinks.database import connector
from streams.crew import Bounds
from streams.intake import Gathered
from streams.logs import Logs
from streams.recorder import Recorder
from streams.telemetry import Telemetry
from streams.watch import Rejoin, Watch
from tests.streams.stage import Stage


class NothingToRecord:
    """A ledger for a recorder that is given nothing."""

    def record(self, gathered: Gathered) -> Recorded:
        raise AssertionError(gathered)

    def close(self) -> None:
        """Hold nothing, give nothing back."""


def test_a_topic_that_is_another_one_by_now_makes_the_worker_join_again(stage: Stage) -> None:
    """The consumer knows topics by name alone, and would read on in the new one at the old one's offset."""
    logs = Logs({"bootstrap.servers": stage.servers}, prefix=stage.namespace)
    connect = connector(stage.database_url, name="watch")

    async def watched() -> BaseException:
        telemetry = Telemetry()
        recorder = Recorder(NothingToRecord, lambda _partitions, _generation: {}, Bounds(), telemetry)
        known = logs.identify([SESSION_ATTENDANCE]) | {SESSION_ATTENDANCE: "cluster/deleted"}
        watch = Watch(connect, "group", logs, recorder, telemetry, outbox_limit=10, log_ids=known)
        watch.start()
        try:
            return await asyncio.wait_for(recorder.failure, 60)
        finally:
            watch.stop()

    reason = asyncio.run(watched())
    assert isinstance(reason, Rejoin)
    assert SESSION_ATTENDANCE in str(reason)
