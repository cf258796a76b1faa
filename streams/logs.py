"""Which logs there are: the cluster's id, the topics' ids, and the offsets that their partitions hold."""

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, TopicDescription

from schemas.errors import LaurelsError
from sinks.positions import LogState, Partition

PATIENCE_SECONDS: Final = 3.0
"""Not every broker knows at once of a topic that was made just now."""
_PASSING: Final = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TRANSPORT}  # noqa: SLF001
)

Extent = tuple[int, int]
"""The first offset of a log and the one after its last."""

_TANSU: Final = "tansu_cluster"
"""Asked for the end of a log, this broker counts its last batch as one record; with what is fetched it tells the truth."""


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
            message = f"Kafka does not say which cluster it is: {str(error) or f'no answer within {self._timeout:g} s'}"
            raise LaurelsError(message) from error
        finally:
            # Hands on what the client logged, which would gather otherwise.
            self._admin.poll(0)
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
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found, missing = self._ask_for(topics)
            if not missing:
                return found
            if time.monotonic() > deadline:
                why = "; ".join(f"{name}: {reason}" for name, reason in sorted(missing.items()))
                raise LaurelsError(f"these topics cannot be read, and a worker creates none: {why}")
            time.sleep(0.2)

    def _ask_for(self, topics: Collection[str]) -> tuple[dict[str, TopicDescription], dict[str, str]]:
        names = {self._prefix + topic: topic for topic in topics}
        answers = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=self._timeout)
        found: dict[str, TopicDescription] = {}
        missing: dict[str, str] = {}
        for name, answer in answers.items():
            try:
                found[names[name]] = answer.result(self._timeout)
            except (KafkaException, TimeoutError) as error:
                missing[name] = str(error)
        return found, missing

    def states(self, partitions: Iterable[Partition]) -> dict[Partition, LogState]:
        """The log of each partition as it is now."""
        partitions = list(partitions)
        identities = self.identify({topic for topic, _ in partitions})
        consumer = Consumer(
            {**self._settings, "group.id": "laurels-looks", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        )
        try:
            extents = {where: self._extent(consumer, *where) for where in partitions}
            if self.cluster_id() == _TANSU:
                extents |= self._fetched_ends(consumer, extents)
            return {where: LogState(identities[where[0]], *extent) for where, extent in extents.items()}
        finally:
            consumer.close()

    def _fetched_ends(self, consumer: Consumer, extents: Mapping[Partition, Extent]) -> dict[Partition, Extent]:
        """The extents of the logs that hold something, with the end as an answer to a fetch names it."""
        unknown = {
            (self._prefix + topic, partition): (topic, partition)
            for (topic, partition), (start, end) in extents.items()
            if end > start
        }
        consumer.assign([TopicPartition(*where, extents[ours][1] - 1) for where, ours in unknown.items()])
        deadline = time.monotonic() + self._timeout
        known: dict[Partition, Extent] = {}
        while unknown:
            message = consumer.poll(0.5)
            ours = None if message is None else unknown.pop((message.topic(), message.partition()), None)
            if ours is not None:
                end = consumer.get_watermark_offsets(TopicPartition(message.topic(), message.partition()), cached=True)[
                    1
                ]
                known[ours] = (extents[ours][0], max(end, extents[ours][1]))
            if time.monotonic() > deadline:
                raise LaurelsError(f"the ends of these logs cannot be read: {sorted(unknown)}")
        return known

    def _extent(self, consumer: Consumer, topic: str, partition: int) -> Extent:
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
