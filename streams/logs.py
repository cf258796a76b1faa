"""Which logs there are: the cluster's id, the topics' ids, and the offsets that their partitions hold."""

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, TopicDescription

from schemas.errors import LaurelsError
from sinks.positions import LogState, Partition

_PASSING: Final = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TRANSPORT}  # noqa: SLF001
)


class Logs:
    """Asks the cluster behind `client_settings`. Every question blocks, for `timeout_seconds` at most.

    `prefix` stands before the name of every topic on this cluster, and nowhere else.
    """

    def __init__(
        self,
        client_settings: Mapping[str, Any],
        *,
        prefix: str = "",
        timeout_seconds: float = 10.0,
    ) -> None:
        self._settings = {"allow.auto.create.topics": False, **client_settings}
        self._admin = AdminClient(dict(client_settings))
        self._prefix = prefix
        self._timeout = timeout_seconds

    def cluster_id(self) -> str:
        """The cluster's own name for itself."""
        try:
            cluster = self._admin.describe_cluster(request_timeout=self._timeout).result(self._timeout)
        except (KafkaException, TimeoutError) as error:
            message = f"Kafka does not say which cluster it is: {error}"
            raise LaurelsError(message) from error
        if not cluster.cluster_id:
            raise LaurelsError("Kafka does not say which cluster it is: it has no cluster id")
        return str(cluster.cluster_id)

    def identify(self, topics: Collection[str]) -> dict[str, str]:
        """The log id of each topic. Raises a `LaurelsError` that names the ones that do not exist."""
        cluster = self.cluster_id()
        return {topic: f"{cluster}/{found.topic_id}" for topic, found in self._describe(topics).items()}

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Every partition of these topics. Raises a `LaurelsError` that names the topics that do not exist."""
        found = self._describe(topics)
        return [(topic, partition.id) for topic, description in found.items() for partition in description.partitions]

    def _describe(self, topics: Collection[str]) -> dict[str, TopicDescription]:
        names = {self._prefix + topic: topic for topic in topics}
        answers = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=self._timeout)
        found: dict[str, TopicDescription] = {}
        missing: dict[str, str] = {}
        for name, answer in answers.items():
            try:
                found[names[name]] = answer.result(self._timeout)
            except (KafkaException, TimeoutError) as error:
                missing[name] = str(error)
        if missing:
            why = "; ".join(f"{name}: {reason}" for name, reason in sorted(missing.items()))
            raise LaurelsError(f"these topics cannot be read, and a worker creates none: {why}")
        return found

    def states(self, partitions: Iterable[Partition]) -> dict[Partition, LogState]:
        """The log of each partition as it is now."""
        partitions = list(partitions)
        identities = self.identify({topic for topic, _ in partitions})
        consumer = Consumer({**self._settings, "group.id": "laurels-looks", "enable.auto.commit": False})
        try:
            return {
                (topic, partition): LogState(identities[topic], *self._extent(consumer, topic, partition))
                for topic, partition in partitions
            }
        finally:
            consumer.close()

    def _extent(self, consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
        deadline = time.monotonic() + self._timeout
        where = TopicPartition(self._prefix + topic, partition)
        while True:
            try:
                start, end = consumer.get_watermark_offsets(where, timeout=self._timeout)
            except KafkaException as error:
                # A partition that was made or moved just now has no leader yet.
                if time.monotonic() > deadline or error.args[0].code() not in _PASSING:
                    message = f"{topic}[{partition}]: the extent of the log cannot be read: {error}"
                    raise LaurelsError(message) from error
                time.sleep(0.1)
            else:
                return start, end
