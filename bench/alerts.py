"""From breaking an invariant by plain SQL to the alert on its topic, and from mending it to `resolved`, under load."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

import msgspec
import psycopg2
from confluent_kafka import Consumer, TopicPartition
from psycopg2.extensions import connection as Connection

from bench.errors import BenchFailed
from bench.following import following
from bench.latency import quantiles
from bench.plants import PLANTS, Plant, Subject, Where
from bench.publishing import Publisher
from bench.run import Run
from bench.stand import Stand
from bench.watching import check, recorded_of, wait_until_held, watch
from bench.workers import GROUP, HELD, workers
from bench.workload import FIRST_SOURCE, PARTITIONS, Record
from ops.embedded.child import Child
from schemas.events import REWARD_ALERTS
from schemas.messages import Alert

MOST_PLANTS: Final = 1_000
EVENTS_PER_PLANT: Final = 200
RATE: Final = 1_000
PLANTERS: Final = 8
USERS_PER_PLANT: Final = 3
"""So many users have a history and are left alone by the load, so that nobody else breaks or mends what is planted. Two
are needed; a third has none of what a plant needs."""

PAUSE_SECONDS: Final = 0.3
"""Planters wait for up to so long, at random, so that they do not keep in step with who looks for them."""
GIVE_UP_SECONDS: Final = 60.0
START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02

VICTIMS: Final = """
SELECT user_id FROM user_licenses JOIN specialization_progress ON student_id = user_id
 GROUP BY user_id
HAVING count(*) = 1 AND bool_and(specialization_type = 'PLAYER' AND specialization_id = 'PLAYER')
 ORDER BY user_id
"""


class Told:
    """Reads `reward-alerts` in a thread of its own, and remembers when it was told what first, and how often."""

    def __init__(self, stand: Stand, prefix: str) -> None:
        self._consumer = Consumer(stand.kafka(group_id=f"{prefix}told", enable_auto_commit=False, fetch_wait_max_ms=50))
        self._consumer.assign([TopicPartition(prefix + REWARD_ALERTS, number, 0) for number in range(PARTITIONS)])
        self._ids: set[bytes] = set()
        self._at: dict[tuple[str, Subject], float] = {}
        self._news = threading.Condition()
        self._stop = threading.Event()
        self.fired: Counter[Subject] = Counter()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait_for(self, status: str, subject: Subject, seconds: float) -> float | None:
        """When that was first told of it; None when it is not within so many seconds."""
        with self._news:
            self._news.wait_for(lambda: (status, subject) in self._at, seconds)
            return self._at.get((status, subject))

    def _read(self) -> None:
        decode = msgspec.json.Decoder(Alert).decode
        while not self._stop.is_set():
            message = self._consumer.poll(POLL_SECONDS)
            now = time.monotonic()
            if message is None or message.error() or message.value() is None:
                continue
            id_ = dict(message.headers())["ce_id"]
            alert = decode(message.value())
            subject = (alert.kind, alert.subject)
            with self._news:
                if alert.status == "firing" and id_ not in self._ids:
                    self.fired[subject] += 1
                self._ids.add(id_)
                self._at.setdefault((alert.status, subject), now)
                self._news.notify_all()


@dataclass(slots=True)
class Answers:
    """What became of the plants of one kind."""

    alert_ms: list[float] = field(default_factory=list)
    resolve_ms: list[float] = field(default_factory=list)
    missed: int = 0
    unresolved: int = 0
    false_alerts: int = 0

    def add(self, other: "Answers") -> None:
        """Take these in as well."""
        self.alert_ms += other.alert_ms
        self.resolve_ms += other.resolve_ms
        self.missed += other.missed
        self.unresolved += other.unresolved
        self.false_alerts += other.false_alerts

    def members(self) -> dict[str, object]:
        """As the answer has them."""
        return {
            "alert_ms": quantiles(sorted(self.alert_ms)) if self.alert_ms else None,
            "resolve_ms": quantiles(sorted(self.resolve_ms)) if self.resolve_ms else None,
            "missed": self.missed,
            "unresolved": self.unresolved,
            "false_alerts": self.false_alerts,
        }


@dataclass(frozen=True, slots=True)
class _Planted:
    kind: str
    plant: Plant
    where: Where

    def due(self) -> list[Subject]:
        return self.plant.due(self.kind, self.where)


def measure_alerts(run: Run) -> dict[str, object]:
    """Every invariant broken by plain SQL under 1,000 events/s: milliseconds to its alert, and to `resolved`."""
    number = min(MOST_PLANTS, max(len(run.records) // EVENTS_PER_PLANT, len(PLANTS)))
    history, load = _apart(run.records, USERS_PER_PLANT * (number + 1))
    with (
        run.stand.database() as url,
        run.stand.topics() as prefix,
        workers(run.stand, url, prefix, relay=True) as working,
    ):
        wait_until_held(url, GROUP, HELD, working)
        published = run.stand.fill(prefix, history).counts
        watch(url, recorded_of(GROUP, published), len(history), working)
        first, *planted = _choose(url, number + 1)
        _prepare(url, planted)
        with following(run.stand, url, prefix) as reconciling, closing(Told(run.stand, prefix)) as told:
            _wait_until_told(url, told, first, reconciling)
            with _under_load(run.stand, prefix, load) as rate:
                began = time.monotonic()
                answers = _plant_all(url, told, planted)
                seconds = time.monotonic() - began
            check([*working, reconciling])
            _count_false(told, [first, *planted], answers)
    together = Answers()
    for answer in answers.values():
        together.add(answer)
    return {
        **together.members(),
        "plants": len(planted),
        "plants_seconds": seconds,
        "background_events_per_s": rate[0],
        "per_invariant": {kind: answer.members() for kind, answer in answers.items()},
    }


def _apart(records: Sequence[Record], number: int) -> tuple[list[Record], list[Record]]:
    """The records of so many users that something may be planted on, and those of all others."""
    users = sorted({record.key for record in records})
    chosen = set(users[:number])
    history = [record for record in records if record.key in chosen]
    return history, [record for record in records if record.key not in chosen]


def _choose(url: str, number: int) -> list[_Planted]:
    """So many plants, the kinds in turns, each with users of its own: what comes back soon is damped as flapping."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(VICTIMS)
        users = [user for (user,) in cursor.fetchall()]
    if len(users) < 2 * number:
        raise BenchFailed(f"{number} plants need {2 * number} users and there are {len(users)}: give --events more")
    kinds = list(PLANTS)
    planted = []
    for index in range(number):
        kind = kinds[index % len(kinds)]
        where = Where(user=users[2 * index], other=users[2 * index + 1], number=FIRST_SOURCE // 2 + index)
        planted.append(_Planted(kind, PLANTS[kind], where))
    return planted


def _prepare(url: str, planted: Sequence[_Planted]) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for one in planted:
            if one.plant.prepared:
                cursor.execute(one.plant.prepared, one.where.parameters())


def _wait_until_told(url: str, told: Told, first: _Planted, reconciling: Child) -> None:
    """The first plant is not measured: once it is told, whoever looks for the others is at work."""
    with closing(psycopg2.connect(url)) as connection:
        for statement, status in ((first.plant.broken, "firing"), (first.plant.mended, "resolved")):
            _commit(connection, statement, first.where)
            if told.wait_for(status, first.due()[0], START_SECONDS) is None:
                check([reconciling])
                raise BenchFailed(
                    f"nothing is told of a plant within {START_SECONDS:.0f} s: {reconciling.last_words()}"
                )


@contextmanager
def _under_load(stand: Stand, prefix: str, load: Sequence[Record]) -> Iterator[list[float]]:
    """Publish at the rate until the end of the block; the list then holds what the rate was."""
    stop = threading.Event()
    failures: list[BenchFailed] = []
    rate: list[float] = []
    publisher = Publisher(stand.kafka(enable_idempotence=True, linger_ms=0), prefix, RATE)

    def publish() -> None:
        try:
            publisher.publish(takewhile(lambda _: not stop.is_set(), load))
        except BenchFailed as failure:
            failures.append(failure)

    thread = threading.Thread(target=publish, daemon=True)
    began = time.monotonic()
    thread.start()
    try:
        yield rate
    finally:
        seconds = time.monotonic() - began
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
    rate.append(len(publisher.sent) / seconds)


def _plant_all(url: str, told: Told, planted: Sequence[_Planted]) -> dict[str, Answers]:
    """Plant and mend one after the other, some at a time."""
    answers = {kind: Answers() for kind in PLANTS}
    shares = [planted[number::PLANTERS] for number in range(PLANTERS)]
    with ThreadPoolExecutor(PLANTERS) as planters:
        for share in planters.map(lambda share: _plant_share(url, told, share), shares):
            for kind, answer in share:
                answers[kind].add(answer)
    return answers


def _plant_share(url: str, told: Told, planted: Sequence[_Planted]) -> list[tuple[str, Answers]]:
    with closing(psycopg2.connect(url, application_name="bench")) as connection:
        return [(one.kind, _plant(connection, told, one)) for one in planted]


def _plant(connection: Connection, told: Told, one: _Planted) -> Answers:
    answer = Answers()
    subject = one.due()[0]
    time.sleep(random.uniform(0, PAUSE_SECONDS))
    planted_at = _commit(connection, one.plant.broken, one.where)
    at = told.wait_for("firing", subject, GIVE_UP_SECONDS)
    if at is None:
        answer.missed += 1
    else:
        answer.alert_ms.append((at - planted_at) * 1000)
    time.sleep(random.uniform(0, PAUSE_SECONDS))
    mended_at = _commit(connection, one.plant.mended, one.where)
    at = told.wait_for("resolved", subject, GIVE_UP_SECONDS)
    if at is None:
        answer.unresolved += 1
    else:
        answer.resolve_ms.append((at - mended_at) * 1000)
    return answer


def _commit(connection: Connection, statement: str, where: Where) -> float:
    """Carry the statement out; the moment just before its commit, on the monotonic clock."""
    with connection.cursor() as cursor:
        cursor.execute(statement, where.parameters())
    at = time.monotonic()
    connection.commit()
    return at


def _count_false(told: Told, planted: Sequence[_Planted], answers: dict[str, Answers]) -> None:
    """Count what fired without a plant, or more often than it was planted."""
    due = Counter[Subject](subject for one in planted for subject in one.due())
    for (kind, _), times in (told.fired - due).items():
        answers.setdefault(kind, Answers()).false_alerts += times
