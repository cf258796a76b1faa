"""`laurels topics`: every topic there must be, with its partitions and how long it keeps what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from msgspec import json

from ops.options import AsJson
from schemas.errors import LaurelsError
from schemas.events import EVENT_TOPICS, REWARD_ALERTS, REWARD_ENTRIES, dead_letter_topic
from schemas.settings import Settings, load_settings

KEPT_FOREVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}
_TIMEOUT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be. `name` is without the prefix that the cluster's names may have."""

    name: str
    partitions: int
    config: Mapping[str, str]


def wanted_topics(partitions: int) -> list[Topic]:
    """Every topic: the events and what could not be applied are kept forever, an alert until its next word."""
    return [
        *(Topic(name, partitions, KEPT_FOREVER) for name in EVENT_TOPICS),
        Topic(REWARD_ENTRIES, partitions, KEPT_FOREVER),
        Topic(REWARD_ALERTS, 1, {"cleanup.policy": "compact"}),
        *(Topic(dead_letter_topic(name), 1, KEPT_FOREVER) for name in EVENT_TOPICS),
    ]


def create_topics(settings: Settings) -> list[str]:
    """Create the topics that do not exist, and return their names. Those that do are left as they are."""
    admin = AdminClient(settings.librdkafka())
    asked = admin.create_topics(
        [
            NewTopic(
                settings.topic_prefix + topic.name,
                num_partitions=topic.partitions,
                replication_factor=settings.replication_factor,
                config=dict(topic.config),
            )
            for topic in wanted_topics(settings.partitions)
        ],
        operation_timeout=_TIMEOUT_SECONDS,
    )
    created = []
    for name, answer in asked.items():
        try:
            answer.result(_TIMEOUT_SECONDS)
        except (KafkaException, TimeoutError) as error:
            if not _exists_already(error):
                raise LaurelsError(f"topic {name} could not be created: {_why(error)}") from error
        else:
            created.append(name)
    return created


def describe_topics(settings: Settings) -> dict[str, Topic]:
    """Those of the topics that exist, as they are."""
    admin = AdminClient(settings.librdkafka())
    prefix = settings.topic_prefix
    try:
        found = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
        names = [topic.name for topic in wanted_topics(1) if prefix + topic.name in found]
        resources = {ConfigResource(ResourceType.TOPIC, prefix + name): name for name in names}
        answers = admin.describe_configs(list(resources)) if resources else {}
        return {
            resources[resource]: Topic(
                resources[resource],
                len(found[resource.name].partitions),
                {name: entry.value for name, entry in answer.result(_TIMEOUT_SECONDS).items()},
            )
            for resource, answer in answers.items()
        }
    except (KafkaException, TimeoutError) as error:
        raise LaurelsError(f"the topics cannot be described: {_why(error)}") from error


def _why(error: Exception) -> str:
    return str(error) or f"Kafka does not answer within {_TIMEOUT_SECONDS:g} s"


def _exists_already(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


def register(app: typer.Typer) -> None:
    """Add `topics` to the command line."""
    app.command("topics")(topics)


def topics(*, as_json: AsJson = False) -> None:
    """Create the topics that do not exist yet; LAURELS_PARTITIONS and LAURELS_REPLICATION_FACTOR say how.

    Partitions are only ever added to a drained topic, so existing topics are left alone: `laurels doctor` compares.
    Example: laurels topics
    """
    created = create_topics(load_settings())
    if as_json:
        typer.echo(json.encode({"created": created}))
    else:
        typer.echo("\n".join(f"created {name}" for name in created) or "all topics exist")
