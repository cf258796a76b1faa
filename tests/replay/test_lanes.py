"""How a replay shares its partitions out and keeps to its rate."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from ops.replay import running
from ops.replay.running import Throttle
from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from streams.intake import Gathered, Record
from streams.ledger_process import LedgerProcess
from streams.logs import Logs
from tests.oracle.academy_log import Academy, presence, result
from tests.oracle.test_verify import SECONDS, Broker
from tests.replay.rows import Laurels, query

LANES = 3
USERS = range(101, 113)


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_a_rate_holds_over_all_that_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(running, "time", clock)
    stopped: Any = SimpleNamespace(wait=clock.wait)
    throttle = Throttle(50, stopped)
    assert throttle.at_once == 50
    for _ in range(5):
        throttle.wait_for(throttle.at_once)
    assert clock.waits == [0, 1, 1, 1, 1]
    Throttle(None, stopped).wait_for(1_000_000)
    assert clock.now == 4


def test_a_batch_ends_with_so_many_records_or_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BYTES_AT_ONCE", 10)
    values = [b"6 byte", b"6 byte", None, b"more than ten", *[b"1"] * 5]
    records = iter([Record(TOURNAMENT_RESULTS, 0, at, "", b"1", value, (), 0) for at, value in enumerate(values)])
    batches = list(iter(lambda: [record.offset for record in running._portion(records, at_once=4)], []))
    assert batches == [[0, 1], [2, 3], [4, 5, 6, 7], [8]]


@pytest.fixture
def spread(academy: Academy, broker: Broker) -> Iterator[None]:
    """Two topics with several partitions, which the live group has passed by without recording anything."""
    admin = AdminClient(dict(broker.settings))
    prefix = f"{broker.namespace}spread-"
    topics = (TOURNAMENT_RESULTS, SESSION_ATTENDANCE)
    for made in admin.create_topics([NewTopic(prefix + topic, LANES, 1) for topic in topics]).values():
        made.result(SECONDS)
    ends: dict[tuple[str, int], int] = defaultdict(int)
    for user in USERS:
        for topic, event in ((TOURNAMENT_RESULTS, result(user, 30, 1)), (SESSION_ATTENDANCE, presence(user, 40))):
            where = user % LANES
            broker.producer.produce(prefix + topic, json.dumps(event), str(user), where)
            ends[topic, where] += 1
    assert broker.producer.flush(SECONDS) == 0
    log_ids = Logs(broker.settings, prefix=prefix).identify(topics)
    academy.tamper(
        "DELETE FROM partition_positions",
        *[
            "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch, owner) "
            f"VALUES ('laurels', '{topic}', {partition}, '{log_ids[topic]}', {end}, {end}, 1, 'tester')"
            for (topic, partition), end in ends.items()
        ],
    )
    yield
    for gone in admin.delete_topics([prefix + topic for topic in topics]).values():
        gone.result(SECONDS)


@pytest.mark.usefixtures("spread")
def test_partitions_are_recorded_at_the_same_time_and_a_users_events_by_one(
    academy: Academy, broker: Broker, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", f"{broker.namespace}spread-")
    meeting = threading.Barrier(LANES)
    shares: dict[LedgerProcess, set[str]] = defaultdict(set)
    begin = LedgerProcess.begin

    def meet_first(ledger: LedgerProcess, gathered: Gathered) -> None:
        if ledger not in shares:
            meeting.wait(SECONDS)
        assert gathered.checkpoint is not None
        shares[ledger] |= gathered.checkpoint.next_offsets.keys()
        begin(ledger, gathered)

    monkeypatch.setattr(LedgerProcess, "begin", meet_first)
    applied = laurels("replay", "apply", "--parallel", str(LANES))
    assert applied["counts"]["recorded"] == 2 * len(USERS)
    assert sorted(map(sorted, shares.values())) == [
        [f"{SESSION_ATTENDANCE}/{partition}", f"{TOURNAMENT_RESULTS}/{partition}"] for partition in range(LANES)
    ]
    paid = query(academy.url, f"SELECT count(*) FROM users WHERE id >= {USERS.start} AND xp_balance > 0")
    assert paid == [(len(USERS),)]
    assert laurels("replay", "apply", "--parallel", str(LANES))["counts"]["recorded"] == 0
