"""Runs measures one after the other, on given services or on some of its own, and gathers what they answer."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg2
from confluent_kafka import KafkaException

from bench.registry import MEMBERS, Measure
from bench.run import Run
from bench.stand import Stand
from bench.surroundings import describe_broker, describe_machine, describe_postgres
from bench.warming import warm_up
from ops.embedded.kafka import ApacheKafka, fetch_jars
from ops.embedded.postgres import EmbeddedPostgres
from schemas.errors import LaurelsError
from schemas.settings import load_settings

KAFKA_HEAP: Final = "1g"

Say = Callable[[str], None]


@contextmanager
def open_stand(say: Say, *, needs_kafka: bool) -> Iterator[tuple[Stand, str | None]]:
    """Where to measure, and the version of a broker that we started; what we start is stopped and forgotten again.

    Only the environment counts: a `.env` or a running `laurels up` in this folder is somebody's, and not for loading.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="laurels-bench-")))
        # As root, Postgres runs as another user, who must get at its data.
        folder.chmod(0o711)
        settings = load_settings(folder)
        version = None
        if settings.database is None:
            say("starting Postgres")
            postgres = EmbeddedPostgres(folder / "postgres")
            stack.callback(postgres.stop)
            url = postgres.start()
        else:
            url = settings.database_url
        client = None
        if needs_kafka and settings.kafka is None:
            say("starting Apache Kafka")
            version = f"Apache Kafka {_kafka_version()}, Java compiling fully"
            # As a broker that has been running for long: measures last minutes, and share their cores with it.
            kafka = ApacheKafka(folder / "kafka", heap=KAFKA_HEAP, lasting=True)
            stack.callback(kafka.stop)
            client = {"bootstrap.servers": kafka.start()}
        elif needs_kafka:
            client = settings.librdkafka()
        logs = folder / "logs"
        logs.mkdir()
        stand = Stand(url, client, logs)
        stack.callback(stand.clear)
        stand.prepare()
        if version is not None:
            say("warming up Apache Kafka")
            warm_up(stand)
        yield stand, version


def run_measures(
    measures: Sequence[Measure], say: Say, *, events: int, memory_events: int, preload_rows: int
) -> dict[str, object]:
    """Take the measures; a failed one does not stop the others, and is named under `failed`."""
    needs_kafka = any(measure.needs_kafka for measure in measures)
    members: dict[str, object] = dict.fromkeys(MEMBERS)
    failed: dict[str, str] = {}
    with open_stand(say, needs_kafka=needs_kafka) as (stand, version):
        run = Run(stand=stand, events=events, memory_events=memory_events, preload_rows=preload_rows)
        for measure in measures:
            say(f"{measure.name}: {measure.summary}")
            try:
                members |= {name: _rounded(value) for name, value in measure.take(run).items()}
            except (LaurelsError, KafkaException, psycopg2.Error) as error:
                failed[measure.name] = " ".join(str(error).split())
                say(f"{measure.name} failed: {failed[measure.name]}")
        members |= {
            "events": events,
            "broker": describe_broker(stand, version),
            "postgres": describe_postgres(stand),
            "machine": describe_machine(),
            "failed": failed,
        }
    return members


def _rounded(value: object) -> object:
    if not isinstance(value, float):
        return value
    return round(value) if value >= 1_000 else round(value, 3)  # noqa: PLR2004  a thousandth of anything is precise enough


def _kafka_version() -> str:
    names = (jar.name for jar in fetch_jars().glob("kafka_*.jar"))
    found = (re.search(r"-(\d[\d.]*)\.jar$", name) for name in names)
    return next((match.group(1) for match in found if match), "of unknown version")
