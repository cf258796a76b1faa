"""A stage for whole workers: topics and a database of their own, workers as processes, and what they recorded."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from sqlalchemy import make_url

from schemas.events import EVENT_TOPICS, SESSION_ATTENDANCE
from streams.logs import Logs

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0
"""Nothing takes so long, not even on a machine that is busy with other things."""

_UNHURRIED = """
from ops.cli import main
from streams import term
term.LEAVE_SECONDS = term.STOP_SECONDS = 120.0
main(["worker", "--no-relay"])
"""
UNHURRIED = (sys.executable, "-c", _UNHURRIED)
"""A worker that may take its time to leave: how much it gets done in five seconds is the machine's business."""


class WorkerProcess:
    """A `laurels worker` that a test may stop, kill or put to sleep."""

    def __init__(self, environment: dict[str, str], log: Path, command: Sequence[str]) -> None:
        self.log = log
        with log.open("wb") as output:
            # In a group of its own, as a shell would start it.
            self._process = subprocess.Popen(
                command, cwd=log.parent, env=environment, stdout=output, stderr=output, process_group=0
            )

    def ledgers(self) -> list[psutil.Process]:
        """The processes of its ledgers."""
        return psutil.Process(self._process.pid).children()

    def interrupt(self) -> None:
        """What Ctrl-C in its terminal does."""
        os.killpg(self._process.pid, signal.SIGINT)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Send SIGTERM, and wait; its exit code."""
        self._process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait for it to end by itself; its exit code. Where it does not, say where each of its threads stands."""
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            self._process.wait(PATIENCE_SECONDS)
            raise AssertionError(f"it does not end:\n{self.said[-10_000:]}") from None

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text()


class Stage:
    """Everything one test needs of Kafka and Postgres."""

    def __init__(self, servers: str, database_url: str, namespace: str, folder: Path, partitions: int) -> None:
        self.servers = servers
        self.database_url = database_url
        self.namespace = namespace
        self._partitions = partitions
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self._folder = folder
        self._workers: list[WorkerProcess] = []
        self._connection: psycopg2.extensions.connection | None = None
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0})
        self._logs = Logs({"bootstrap.servers": servers, "log_level": 0}, prefix=namespace)
        self.make_topics(EVENT_TOPICS, partitions)

    # Kafka

    def make_topics(self, topics: Iterable[str], partitions: int) -> None:
        made = self.admin.create_topics([NewTopic(self.namespace + topic, partitions, 1) for topic in topics])
        for answer in made.values():
            answer.result(PATIENCE_SECONDS)

    def delete_topics(self, topics: Iterable[str]) -> None:
        for answer in self.admin.delete_topics([self.namespace + topic for topic in topics]).values():
            answer.result(PATIENCE_SECONDS)

    def publish(self, events: Iterable[dict[str, Any]], *, topic: str = SESSION_ATTENDANCE) -> None:
        """Publish on the partition of the user: user 4 of two partitions is on 0, user 5 on 1."""
        self.publish_raw([(str(event["user_id"]), json.dumps(event).encode(), None) for event in events], topic=topic)

    def publish_raw(self, records: Iterable[tuple[str, bytes, int | None]], *, topic: str = SESSION_ATTENDANCE) -> None:
        """Publish keys and values as they are, on a given partition where one is named."""
        for key, value, partition in records:
            where = {} if partition is None else {"partition": partition}
            self._producer.produce(self.namespace + topic, key=key, value=value, **where)
        assert self._producer.flush(PATIENCE_SECONDS) == 0

    # Workers

    def worker(self, *, command: Sequence[str] | None = None, **settings: object) -> WorkerProcess:
        """Start a worker; `settings` are variables without their prefix."""
        environment = os.environ | {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "LAURELS_GROUP": self.namespace + "workers",
            "LAURELS_TOPIC_PREFIX": self.namespace,
            "LAURELS_SESSION_TIMEOUT_SECONDS": "6",
            "PYTHONFAULTHANDLER": "1",
            **{f"LAURELS_{name.upper()}": str(value) for name, value in settings.items()},
        }
        log = self._folder / f"worker-{len(self._workers)}.log"
        worker = WorkerProcess(environment, log, command or [sys.executable, "-m", "ops.cli", "worker", "--no-relay"])
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            if worker.runs:
                worker.signal(signal.SIGCONT)
                worker.kill()
        if self._connection is not None:
            self._connection.close()
        del self._producer
        # Some may be gone already.
        concurrent.futures.wait(
            self.admin.delete_topics([self.namespace + topic for topic in EVENT_TOPICS]).values(), PATIENCE_SECONDS
        )

    # Postgres

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            return self._ask(statement, *parameters)
        except (psycopg2.InterfaceError, psycopg2.OperationalError):
            # Somebody ended the connection.
            self._connection = None
            return self._ask(statement, *parameters)

    def _ask(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg2.connect(self.database_url)
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def administer(self, statement: str) -> None:
        """Run a statement outside of our database and of any transaction."""
        url = make_url(self.database_url).set(database="postgres").render_as_string(hide_password=False)
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def sessions_recorded(self) -> Counter[tuple[int, int]]:
        """How often each user's presence in each session is in the ledger."""
        rows = self.query(
            "SELECT user_id, split_part(idempotency_key, '_', 2)::int FROM xp_transactions"
            " WHERE transaction_type = 'SESSION_ATTENDANCE'"
        )
        return Counter(rows)

    def positions(self, topic: str = SESSION_ATTENDANCE) -> list[int]:
        """The next offsets of the topic's partitions that were claimed."""
        rows = self.query("SELECT next_offset FROM partition_positions WHERE topic = %s ORDER BY partition", topic)
        return [offset for (offset,) in rows]

    def is_read(self, ends: dict[tuple[str, int], int]) -> bool:
        """Whether everything before these ends is recorded."""
        rows = self.query("SELECT topic, partition, next_offset FROM partition_positions")
        positions = {(topic, partition): offset for topic, partition, offset in rows}
        return all(positions.get(where, -1) >= end for where, end in ends.items())

    def acknowledged(self, topic: str = SESSION_ATTENDANCE) -> int | None:
        """What Kafka was told of how far the topic's first partition is recorded; None for nothing yet."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": self.namespace + "workers"})
        try:
            (found,) = consumer.committed([TopicPartition(self.namespace + topic, 0)], PATIENCE_SECONDS)
            return None if found.offset == OFFSET_INVALID else int(found.offset)
        finally:
            consumer.close()

    def members(self) -> int:
        """How many are in the workers' consumer group, or wait to be."""
        group = self.namespace + "workers"
        return len(self.admin.describe_consumer_groups([group])[group].result(PATIENCE_SECONDS).members)

    def end_offsets(self) -> dict[tuple[str, int], int]:
        states = self._logs.states(self._logs.partitions(EVENT_TOPICS))
        return {where: state.end_offset for where, state in states.items()}

    @contextmanager
    def holding_batches(self) -> Iterator[None]:
        """Let no batch with attendances be recorded for as long as this lasts."""
        with closing(psycopg2.connect(self.database_url)) as rival, rival.cursor() as cursor:
            cursor.execute("LOCK TABLE session_attendances IN ACCESS EXCLUSIVE MODE")
            yield

    def alerts(self) -> set[str]:
        return {kind for (kind,) in self.query("SELECT kind FROM reward_alerts WHERE status = 'firing'")}

    # Waiting

    def wait_until(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until `condition` holds; fail with what the workers said when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                said = "\n".join(f"--- {worker.log.name}\n{worker.said[-3000:]}" for worker in self._workers)
                raise AssertionError(f"not within {seconds:g} seconds; positions {self.positions()}\n{said}")
            time.sleep(0.1)

    def wait_until_read(self) -> None:
        """Wait until everything is recorded that is in the logs now."""
        ends = self.end_offsets()
        self.wait_until(lambda: self.is_read(ends))

    def wait_until_claimed(self) -> None:
        """Wait until a worker holds all partitions."""
        every = [(len(EVENT_TOPICS) * self._partitions,)]
        self.wait_until(lambda: self.query("SELECT count(owner) FROM partition_positions") == every)

    def wait_until_held(self) -> None:
        """Wait until a batch waits for the end of `holding_batches`."""
        # Tables have the same number in every database that was made from one template.
        waiting = """
            SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'session_attendances'::regclass
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
        self.wait_until(lambda: self.query(waiting))


def presences(users: Iterable[int], sessions: Iterable[int]) -> list[dict[str, Any]]:
    """Each of the users in each of the sessions, session by session."""
    users = list(users)
    return [
        {
            "event_id": f"e-{session}-{user}",
            "user_id": user,
            "session_id": session,
            "status": "present",
            "occurred_at": "2026-01-02T03:04:05Z",
        }
        for session in sessions
        for user in users
    ]


def once_each(events: Iterable[dict[str, Any]]) -> Counter[tuple[int, int]]:
    """What the ledger holds when each of these events was recorded once."""
    return Counter({(event["user_id"], event["session_id"]): 1 for event in events})
