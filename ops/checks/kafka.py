"""The broker: whether it answers, what it can do, and whether the topics are as they must be."""

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from ops.checks.finding import Finding, failed, warning, well
from ops.topics import Topic, describe_topics, wanted_topics
from schemas.errors import LaurelsError
from schemas.settings import Settings
from streams.logs import Logs

_TIMEOUT_SECONDS: Final = 5.0
_API_VERSIONS: Final = 18

NEEDED_APIS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("Produce", 3),  # record batches with headers
    1: ("Fetch", 4),  # the last stable offset: read_committed
    2: ("ListOffsets", 2),
    3: ("Metadata", 10),  # topic ids, which tell a topic from its successor of the same name
    8: ("OffsetCommit", 2),
    11: ("JoinGroup", 2),
    19: ("CreateTopics", 2),
    22: ("InitProducerId", 0),  # idempotent producers
    32: ("DescribeConfigs", 1),
    60: ("DescribeCluster", 0),  # the cluster's id
}
"""What Laurels asks of a broker: the request, and the version that it must know."""


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Everything about the broker, as far as it answers."""
    try:
        cluster = Logs(settings.librdkafka(), timeout_seconds=_TIMEOUT_SECONDS).cluster_id()
    except LaurelsError as error:
        yield failed(
            "Kafka", f"{settings.bootstrap_servers}: {error}", "start it, or mend KAFKA_BOOTSTRAP_SERVERS and KAFKA_*"
        )
        return
    yield well("Kafka", f"cluster {cluster} at {settings.bootstrap_servers}")
    try:
        yield check_apis(fetch_api_versions(settings))
    except (OSError, struct.error) as error:
        yield warning("Kafka APIs", f"{type(error).__name__}: {error}", "see that nothing stands before the broker")
    yield from check_topics(describe_topics(settings), settings)


def fetch_api_versions(settings: Settings) -> dict[int, int]:
    """The newest version of every request that the first broker knows; asked before anything like a log-in."""
    host, _, port = settings.bootstrap_servers.split(",")[0].rpartition(":")
    context: Any = settings.aiokafka().get("ssl_context")
    with closing(socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS)) as plain:
        if isinstance(context, ssl.SSLContext):
            with context.wrap_socket(plain, server_hostname=host) as secure:
                return _ask_api_versions(secure)
        return _ask_api_versions(plain)


def _ask_api_versions(connection: socket.socket) -> dict[int, int]:
    request = struct.pack(">hhih", _API_VERSIONS, 0, 1, -1)
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as answer:
        body = answer.read(struct.unpack(">i", answer.read(4))[0])
    (count,) = struct.unpack_from(">i", body, 6)  # after the correlation id and the error
    return {
        api: newest for api, _, newest in (struct.unpack_from(">hhh", body, 10 + 6 * entry) for entry in range(count))
    }


def check_apis(found: Mapping[int, int]) -> Finding:
    """Whether the broker knows what we ask."""
    lacking = [f"{name} {version}" for api, (name, version) in NEEDED_APIS.items() if found.get(api, -1) < version]
    if lacking:
        return failed("Kafka APIs", f"not known: {', '.join(lacking)}", "use Apache Kafka 2.8 or later")
    return well("Kafka APIs", f"{len(found)} known, among them all {len(NEEDED_APIS)} that are needed")


def check_topics(found: Mapping[str, Topic], settings: Settings) -> Iterator[Finding]:
    """Whether every topic exists, with its partitions, and keeps what it must keep."""
    wanted = wanted_topics(settings.partitions)
    missing = [topic.name for topic in wanted if topic.name not in found]
    if missing:
        yield failed("topics", f"missing: {', '.join(missing)}", "laurels topics")
    for topic in wanted:
        if topic.name in found:
            yield _check_topic(topic, found[topic.name])


def _check_topic(wanted: Topic, found: Topic) -> Finding:
    name = f"topic {wanted.name}"
    wrong = {
        setting: found.config[setting]
        for setting, value in wanted.config.items()
        if found.config.get(setting, value) != value
    }
    if wrong:
        shown = ", ".join(f"{setting} = {value}" for setting, value in wrong.items())
        mend = ",".join(f"{setting}={wanted.config[setting]}" for setting in wrong)
        return failed(name, shown, f"kafka-configs.sh --alter --entity-type topics --add-config {mend}")
    if found.partitions < wanted.partitions:
        return warning(
            name,
            f"{found.partitions} partitions, LAURELS_PARTITIONS says {wanted.partitions}",
            "add partitions once the topic is drained, or set LAURELS_PARTITIONS to what there is",
        )
    return well(name, f"{found.partitions} partitions")
