"""Which Postgres and which broker a test run gets: what is given, Docker's, what this machine can start, embedded."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from ops.embedded.kafka import ApacheKafka, NoKafka
from ops.embedded.postgres import SPEED_OVER_SAFETY, EmbeddedPostgres
from ops.embedded.tansu import Tansu
from tests.services.databases import drop_templates, make_templates, template_names
from tests.services.run import REQUIRE_VARIABLE, ROOT, Service

POSTGRES_IMAGE: Final = "postgres:17"
KAFKA_IMAGE: Final = "apache/kafka:4.1.0"
TANSU_CLUSTER: Final = "tansu_cluster"
CACHE: Final = ROOT / ".cache" / "kafka"

Stop = Callable[[], object]


def start_postgres(folder: Path) -> tuple[Service, Stop]:
    """A Postgres with a migrated template database."""
    kind, url, stop = _postgres(folder)
    service = {"kind": kind, "url": url} | template_names(f"laurels_{secrets.token_hex(4)}")

    def leave() -> None:
        if kind == "given":
            drop_templates(service)
        stop()

    try:
        make_templates(service)
    except BaseException:
        leave()
        raise
    return service, leave


def start_kafka(folder: Path) -> tuple[Service, Stop]:
    """A broker; refuses the embedded one where real Apache Kafka is required."""
    kind, servers, stop = _kafka(folder)
    if kind == "embedded" and os.environ.get(REQUIRE_VARIABLE):
        stop()
        raise NoKafka(f"{REQUIRE_VARIABLE} is set, and only the embedded broker is there")
    return {"kind": kind, "servers": servers}, stop


def _postgres(folder: Path) -> tuple[str, str, Stop]:
    given = os.environ.get("DATABASE_URL")
    if given:
        return "given", given, lambda: None
    if _docker_answers(POSTGRES_IMAGE):
        from testcontainers.postgres import PostgresContainer  # noqa: PLC0415  slow, and rarely wanted

        container = PostgresContainer(POSTGRES_IMAGE, driver=None)
        container.with_command(" ".join(["postgres", *(f"-c {n}={v}" for n, v in SPEED_OVER_SAFETY.items())]))
        container.start()
        return "docker", container.get_connection_url(), container.stop
    server = EmbeddedPostgres(folder / "postgres", settings=SPEED_OVER_SAFETY)
    return "embedded", server.start(), server.stop


def _kafka(folder: Path) -> tuple[str, str, Stop]:
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        admin = AdminClient({"bootstrap.servers": given})  # named: a client that nobody holds cancels its question
        cluster = admin.describe_cluster().result(10).cluster_id
        return ("embedded" if cluster == TANSU_CLUSTER else "given"), given, lambda: None
    if _docker_answers(KAFKA_IMAGE):
        from testcontainers.kafka import KafkaContainer  # noqa: PLC0415  slow, and rarely wanted

        container = KafkaContainer(KAFKA_IMAGE).with_kraft()
        container.start()
        return "docker", container.get_bootstrap_server(), container.stop
    try:
        broker = ApacheKafka(folder / "kafka", cache=CACHE)
        return "maven", broker.start(), broker.stop
    except NoKafka:
        embedded = Tansu(folder / "tansu")
        return "embedded", embedded.start(), embedded.stop


def _docker_answers(image: str) -> bool:
    """Whether an engine answers and has the image, or can get it."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    if subprocess.run([docker, "info"], capture_output=True, check=False, timeout=20).returncode != 0:
        return False
    for command in (["image", "inspect", image], ["pull", "-q", image]):
        if subprocess.run([docker, *command], capture_output=True, check=False, timeout=300).returncode == 0:
            return True
    return False
