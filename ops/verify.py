"""`laurels verify`: folds the topics from scratch and compares every row of Postgres with what they say."""

from collections.abc import Collection, Mapping
from time import monotonic
from typing import Any, Final

from ops.verification.folding import Reader
from ops.verification.log import LogReader, Partition, Stretch
from ops.verification.report import Report
from ops.verification.snapshot import Snapshot
from ops.verification.verification import Verification
from schemas.errors import LaurelsError
from sinks.database import Timeouts, connector
from sinks.positions import LogState
from streams.logs import Logs

PATIENT: Final = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)
"""A verification holds one transaction open while it reads the topics."""


def verify(
    database_url: str,
    kafka: Mapping[str, Any],
    *,
    group: str = "laurels",
    prefix: str = "",
    user_id: int | None = None,
) -> Report:
    """Compare what Postgres holds, up to its recorded positions, with what the topics say.

    `kafka` are the client's settings, `bootstrap.servers` among them; `prefix` stands before topic names on the cluster.
    Changes nothing, and works beside running workers. With `user_id` only that user's rows are reported.
    """
    began = monotonic()
    snapshot = Snapshot(connector(database_url, name="laurels-verify", timeouts=PATIENT))
    try:
        report = Verification(snapshot, KafkaTopics(kafka, prefix), group).run()
    finally:
        snapshot.close()
    if user_id is not None:
        report.differences = [difference for difference in report.differences if difference.user_id == user_id]
    report.seconds = round(monotonic() - began, 3)
    return report


class KafkaTopics:
    """The event topics of a cluster."""

    def __init__(self, client_settings: Mapping[str, Any], prefix: str) -> None:
        self._settings = client_settings
        self._prefix = prefix
        self._logs = Logs(client_settings, prefix=prefix)

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        """The logs of those of the partitions whose topics exist."""
        self._logs.cluster_id()
        existing = {topic for topic in {topic for topic, _ in partitions} if self._exists(topic)}
        return self._logs.states([where for where in partitions if where[0] in existing])

    def read(self, stretches: Mapping[Partition, Stretch]) -> Reader:
        """A reader that stays out of every group."""
        return LogReader(self._settings, stretches, prefix=self._prefix)

    def _exists(self, topic: str) -> bool:
        try:
            self._logs.identify([topic])
        except LaurelsError:
            return False
        return True
