"""What a worker hears of although no topic brings it."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from schemas.events import SESSION_ATTENDANCE
from sinks.batch import Recorded
from sinks.database import connector, transaction
from streams.crew import Bounds
from streams.intake import Gathered
from streams.logs import Logs
from streams.recorder import Recorder
from streams.telemetry import Telemetry
from streams.watch import Rejoin, Watch
from tests.streams.stage import Stage

ADD_GOALKEEPERS = """
INSERT INTO specializations VALUES ('GOALKEEPER', 'Goalkeeper', 1);
INSERT INTO specialization_levels VALUES ('GOALKEEPER', 1, 'Keeper', 0)
"""


class NothingToRecord:
    """A ledger for a recorder that is given nothing."""

    def record(self, gathered: Gathered) -> Recorded:
        raise AssertionError(gathered)

    def close(self) -> None:
        """Hold nothing, give nothing back."""


class Unchanged:
    """Logs that are what they were."""

    def identify(self, topics: Mapping[str, str]) -> Mapping[str, str]:
        return topics


def test_a_specialization_that_the_academy_adds_may_be_named_from_then_on(database_url: str) -> None:
    connect = connector(database_url, name="watch")

    async def watched() -> None:
        telemetry = Telemetry()
        recorder = Recorder(NothingToRecord, lambda _partitions, _generation: {}, Bounds(), telemetry)
        logs = cast("Any", Unchanged())
        watch = Watch(connect, "group", logs, recorder, telemetry, outbox_limit=10, log_ids={})
        watch.start()
        try:
            while "PLAYER" not in recorder.specializations:  # noqa: ASYNC110  a thread looks
                await asyncio.sleep(0.01)
            assert "GOALKEEPER" not in recorder.specializations
            with transaction(connect) as cursor:
                cursor.execute(ADD_GOALKEEPERS)
            while "GOALKEEPER" not in recorder.specializations:  # noqa: ASYNC110  a thread looks
                await asyncio.sleep(0.01)
        finally:
            watch.stop()

    asyncio.run(asyncio.wait_for(watched(), 60))


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
