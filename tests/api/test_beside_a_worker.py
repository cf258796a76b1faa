"""HTTP writes beside a worker that reads their own publications: nothing lost, nothing twice."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Wired
from tests.api.serving import Served
from tests.api.test_events import lines, presence

USERS = range(1, 9)


@pytest.fixture
def worker(wired: Wired, tmp_path: Path) -> Iterator[Path]:
    """The log of a running worker."""
    environment = os.environ | {
        "DATABASE_URL": wired.api.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": wired.settings.bootstrap_servers,
        "LAURELS_GROUP": wired.settings.topic_prefix + "workers",
        "LAURELS_TOPIC_PREFIX": wired.settings.topic_prefix,
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "ops.cli", "worker"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    yield log
    process.kill()
    process.wait()


def write(client: httpx.Client, thread: int) -> set[int]:
    """What one client does: batches of attendances, and transfers and commands between and for the same users."""
    statuses = set()
    for turn in range(10):
        session = 100 * thread + turn + 1
        body = lines(*(presence(user, session) for user in USERS))
        answer = client.post(
            "/api/v1/events/session-attendance", content=body, headers={"Content-Type": "application/jsonl"}
        )
        statuses.add(answer.status_code)
        sender = USERS[(thread + turn) % len(USERS)]
        order = {"sender_id": sender, "receiver_id": USERS[-1] + 1 - sender, "amount": 5}
        key = {"Idempotency-Key": f"{thread}-{turn}"}
        statuses.add(client.post("/api/v1/transfers", json=order, headers=key).status_code)
        command = {"command_id": f"{thread}-{turn}", "user_id": sender, "xp_change": 1}
        statuses.add(client.post("/api/v1/level-commands", json=command).status_code)
    return statuses


def read_to(api: Served) -> dict[str, int]:
    """How many records of each topic the worker is done with."""
    return dict(api.query("SELECT topic, sum(next_offset)::int FROM partition_positions GROUP BY topic"))


def test_http_writes_beside_a_worker_lose_nothing(wired: Wired, worker: Path) -> None:
    api = wired.api
    api.rich(*USERS, credits=1_000)
    with api.client(role="operator") as client, ThreadPoolExecutor(4) as threads:
        statuses = set().union(*threads.map(lambda thread: write(client, thread), range(4)))
    assert statuses == {201, 202}
    # 320 attendances recorded, 40 transfers and 40 commands published and met again as duplicates.
    expected = {"session-attendance": 320, "credit-transfers": 40, "level-commands": 40}
    deadline = time.monotonic() + 120
    while not expected.items() <= read_to(api).items():
        assert time.monotonic() < deadline, worker.read_text()[-3_000:]
        time.sleep(0.2)
    counts = dict(api.query("SELECT origin, count(*)::int FROM reward_receipts GROUP BY origin"))
    assert counts == {"event": 320, "http": 80}
    assert api.query("SELECT count(*) FROM dead_letters") == [(0,)]
    assert api.query(
        "SELECT count(*) FROM users u WHERE credit_balance <> opening_credits +"
        " (SELECT coalesce(sum(amount), 0) FROM credit_transactions WHERE user_id = u.id)"
    ) == [(0,)]
    transferred = (
        "SELECT count(*)::int, sum(amount)::int FROM credit_transactions WHERE transaction_type LIKE 'TRANSFER%%'"
    )
    assert api.query(transferred) == [(80, 0)]
