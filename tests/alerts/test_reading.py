"""The consumer that the documentation shows reads what is told on `reward-alerts`."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.events import REWARD_ALERTS
from tests.schemas.examples import ALERT

PAGE = Path(__file__).parents[2] / "docs/alerts.md"
SECONDS = 60


@pytest.fixture
def topic(bootstrap_servers: str, namespace: str) -> Iterator[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    name = namespace + REWARD_ALERTS
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(SECONDS)
    yield name
    admin.delete_topics([name])[name].result(SECONDS)


def test_the_example_of_the_documentation_reads_alerts(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert example.count("localhost:9092") == example.count("pager") == example.count(REWARD_ALERTS) == 1
    here = example.replace("localhost:9092", bootstrap_servers).replace("pager", topic).replace(REWARD_ALERTS, topic)
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, key=ALERT.fingerprint, value=msgspec.json.encode(ALERT))
    # Compaction leaves nothing of an alert but this.
    producer.produce(topic, key=ALERT.fingerprint, value=None)
    producer.produce(topic, key="g", value=msgspec.json.encode(msgspec.structs.replace(ALERT, status="resolved")))
    assert producer.flush(SECONDS) == 0
    said = tmp_path / "said"
    expected = "firing INV-R01 user 5 7\nresolved INV-R01 user 5 7\n"
    with said.open("w") as output:
        reading = subprocess.Popen(
            [sys.executable, "-c", here], stdout=output, stderr=output, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
    try:
        deadline = time.monotonic() + SECONDS
        while said.read_text() != expected and reading.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        reading.kill()
        reading.wait()
    assert said.read_text() == expected
