"""What a measure ran on: the machine, the database and the broker. Figures without them say nothing."""

import os
import platform
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg2
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.stand import Stand

SETTINGS: Final = (
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_compression",
    "fsync",
    "synchronous_commit",
)
GIB: Final = 1024**3


def describe_machine() -> str:
    """Cores, memory, system and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return (
        f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def describe_postgres(stand: Stand) -> str:
    """Its version, and the settings that throughput depends on."""
    with closing(psycopg2.connect(stand.database_url)) as connection, connection.cursor() as cursor:
        shown = []
        for name in ("server_version", *SETTINGS):
            cursor.execute(f"SHOW {name}")
            (value,) = cursor.fetchone() or ("?",)
            shown.append(str(value))
    return f"PostgreSQL {shown[0]}, " + ", ".join(map("=".join, zip(SETTINGS, shown[1:], strict=True)))


def describe_broker(stand: Stand, version: str | None) -> str | None:
    """Its version where we started it ourselves, and the cluster; None where none was needed."""
    if stand.client is None:
        return None
    admin = AdminClient(stand.kafka())
    try:
        cluster = admin.describe_cluster().result(10)
    except KafkaException as error:
        return f"unknown: {error}"
    nodes = len(cluster.nodes)
    return f"{version or 'given by KAFKA_BOOTSTRAP_SERVERS'}, {nodes} node{'s' * (nodes > 1)}, cluster {cluster.cluster_id}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
