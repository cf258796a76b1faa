"""A stage for whole workers: topics and a database of their own, workers as processes, and what they recorded."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from sqlalchemy import make_url

from schemas.events import EVENT_TOPICS, SESSION_ATTENDANCE
from streams.logs import Logs

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 40.0


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

    def interrupt(self) -> int:
        """What Ctrl-C in its terminal does, and then wait; its exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(PATIENCE_SECONDS)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> float:
        """Send SIGTERM; how many seconds it took to leave."""
        began = time.monotonic()
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        return time.monotonic() - began

    def ended(self) -> int:
        """Wait for it to end by itself; its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def said(self) -> str:
        return self.log.read_text()


class Stage:
    """Everything one test needs of Kafka and Postgres."""

    def __init__(self, servers: str, database_url: str, namespace: str, folder: Path, partitions: int) -> None:
        self.servers = servers
        self.database_url = database_url
        self.namespace = namespace
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self._folder = folder
        self._workers: list[WorkerProcess] = []
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0})
        self._logs = Logs({"bootstrap.servers": servers, "log_level": 0}, prefix=namespace)
        self.make_topics(EVENT_TOPICS, partitions)

    # Kafka

    def make_topics(self, topics: Iterable[str], partitions: int) -> None:
        made = self.admin.create_topics([NewTopic(self.namespace + topic, partitions, 1) for topic in topics])
        for answer in made.values():
            answer.result(10)

    def delete_topics(self, topics: Iterable[str]) -> None:
        for answer in self.admin.delete_topics([self.namespace + topic for topic in topics]).values():
            answer.result(10)

    def publish(self, events: Iterable[dict[str, Any]], *, topic: str = SESSION_ATTENDANCE) -> None:
        """Publish on the partition of the user: user 4 of two partitions is on 0, user 5 on 1."""
        self.publish_raw([(str(event["user_id"]), json.dumps(event).encode(), None) for event in events], topic=topic)

    def publish_raw(self, records: Iterable[tuple[str, bytes, int | None]], *, topic: str = SESSION_ATTENDANCE) -> None:
        """Publish keys and values as they are, on a given partition where one is named."""
        for key, value, partition in records:
            where = {} if partition is None else {"partition": partition}
            self._producer.produce(self.namespace + topic, key=key, value=value, **where)
        assert self._producer.flush(20) == 0

    # Workers

    def worker(self, *, command: Sequence[str] | None = None, **settings: object) -> WorkerProcess:
        """Start a worker; `settings` are variables without their prefix."""
        environment = os.environ | {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "LAURELS_GROUP": self.namespace + "workers",
            "LAURELS_TOPIC_PREFIX": self.namespace,
            "LAURELS_SESSION_TIMEOUT_SECONDS": "6",
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
        del self._producer
        # Some may be gone already.
        concurrent.futures.wait(
            self.admin.delete_topics([self.namespace + topic for topic in EVENT_TOPICS]).values(), 10
        )

    # Postgres

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.database_url)) as connection, connection, connection.cursor() as cursor:
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

    def lag(self) -> int | None:
        """How many offsets of all logs are not recorded; None before all partitions were claimed."""
        rows = self.query("SELECT topic, partition, next_offset FROM partition_positions")
        ends = self.end_offsets()
        positions = {(topic, partition): offset for topic, partition, offset in rows}
        return sum(end - positions[where] for where, end in ends.items()) if positions.keys() >= ends.keys() else None

    def end_offsets(self) -> dict[tuple[str, int], int]:
        states = self._logs.states(self._logs.partitions(EVENT_TOPICS))
        return {where: state.end_offset for where, state in states.items()}

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
        """Wait until nothing is left in any log."""
        self.wait_until(lambda: self.lag() == 0)

    def wait_until_claimed(self) -> None:
        """Wait until a worker holds all partitions."""
        self.wait_until(lambda: self.lag() is not None)


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
