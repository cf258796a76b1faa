"""A stage on which reconciliation follows what workers record and others change, and what it tells."""

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition

from schemas.events import REWARD_ALERTS, REWARD_ENTRIES
from schemas.messages import Alert
from tests.ops.broker import end_of
from tests.streams.stage import Stage, WorkerProcess

FOLLOW = (sys.executable, "-m", "ops.cli", "reconcile", "--follow")
WORKER = (sys.executable, "-m", "ops.cli", "worker")
ANSWER_SECONDS = 60


class Told(NamedTuple):
    """A message on `reward-alerts`."""

    id: str
    alert: Alert


class Followed(Stage):
    """A stage with the topics that go out."""

    def __init__(self, servers: str, database_url: str, namespace: str, folder: Path, partitions: int) -> None:
        super().__init__(servers, database_url, namespace, folder, partitions)
        group = {"group.id": f"{namespace}workers-reconcile", "enable.auto.commit": False}
        self._reader = Consumer({"bootstrap.servers": servers, "log_level": 0, **group})
        self.make_topics([REWARD_ENTRIES, REWARD_ALERTS], partitions)

    def recording(self, **settings: object) -> WorkerProcess:
        """Start a worker that relays the outbox."""
        return self.worker(command=WORKER, **settings)

    def following(self, **settings: object) -> WorkerProcess:
        """Start a reconciler that sweeps only when it must."""
        return self.worker(command=FOLLOW, **({"sweep_interval_seconds": 3600} | settings))

    def told(self) -> list[Told]:
        """Everything on the topic of alerts but what workers tell of themselves; a repeated id is one message."""
        found: dict[str, Told] = {}
        for where in self._all(REWARD_ALERTS):
            end = end_of(self._reader, where)
            self._reader.assign([where])
            at = 0
            while at < end:
                message = self._reader.poll(ANSWER_SECONDS)
                assert message is not None
                assert message.error() is None
                at = message.offset() + 1
                id_ = dict(message.headers())["ce_id"].decode()
                alert = msgspec.json.decode(message.value(), type=Alert)
                if not alert.kind.startswith("OPS"):
                    found[id_] = Told(id_, alert)
        return list(found.values())

    def told_of(self, kind: str, subject: str) -> list[str]:
        """What was told of one alert, in order."""
        return [alert.status for _, alert in self.told() if (alert.kind, alert.subject) == (kind, subject)]

    def told_in_all(self) -> Counter[tuple[str, str, str]]:
        """How often each thing was told."""
        return Counter((alert.kind, alert.subject, alert.status) for _, alert in self.told())

    def announced(self) -> int:
        """How many messages there were on `reward-entries`."""
        return sum(end_of(self._reader, where) for where in self._all(REWARD_ENTRIES))

    def wait_until_it_follows(self) -> None:
        """Wait until whatever was announced so far is checked, and Kafka has it that it was.

        A follower begins at the end of the log, so users are touched until it has checked something.
        """
        self.wait_until(self._touched_and_committed)
        self.wait_until(lambda: self.query("SELECT count(*) FROM outbox") == [(0,)])
        self.wait_until(self._all_committed)

    def _touched_and_committed(self) -> bool:
        committed = self._reader.committed(self._all(REWARD_ENTRIES), ANSWER_SECONDS)
        if all(where.offset >= 0 for where in committed):
            return True
        touch = "UPDATE users SET xp_balance = xp_balance {} 1 WHERE id = {}"
        self.query("; ".join(touch.format(sign, user) for user in range(1, 9) for sign in "+-"))
        return False

    def _all_committed(self) -> bool:
        partitions = self._all(REWARD_ENTRIES)
        ends = [end_of(self._reader, where) for where in partitions]
        committed = [where.offset for where in self._reader.committed(partitions, ANSWER_SECONDS)]
        return committed == ends

    def _all(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(self.namespace + topic, partition, 0) for partition in range(self._partitions)]

    def close(self) -> None:
        super().close()
        self._reader.close()
        self.delete_topics([REWARD_ENTRIES, REWARD_ALERTS])
