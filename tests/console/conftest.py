"""A console with something on every page, and whoever looks at it."""

import json
import ssl
from collections.abc import Iterator

import httpx
import pytest

from sinks.tokens import Role
from tests.api.serving import Served, serving
from tests.console.page import Element, read
from tests.services.databases import cloned
from tests.services.run import Service

FIRING, RESOLVED = "a" * 32, "b" * 32
TRUST = ssl.create_default_context()
"""Made once, since that takes longer than a request."""
PARTS = [{"topic": "tournament-results", "partition": 0, "log_id": "l", "start": 100, "end": 300}]


class Visitor:
    """A browser without JavaScript."""

    def __init__(self, api: Served, role: Role | None) -> None:
        at_once = httpx.Limits(max_keepalive_connections=0)  # so that nothing is left open
        self.client = httpx.Client(base_url=api.url, timeout=120, limits=at_once, verify=TRUST)
        if role is not None:
            answer = self.sign_in(api.tokens[role])
            assert answer.status_code == 303, answer.text

    def sign_in(self, token: str, onward: str = "/console/") -> httpx.Response:
        return self.client.post("/console/login", data={"token": token, "next": onward})

    def open(self, path: str, status: int = 200) -> Element:
        answer = self.client.get(f"/console{path}")
        assert answer.status_code == status, answer.text
        return read(answer.text)

    def send(self, page: Element, action: str, **typed: str) -> httpx.Response:
        """Fill in the form of the page that leads there, and send it."""
        form = page.one("form", method="post", action=f"/console{action}")
        return self.client.post(f"/console{action}", data=form.fields() | typed)


@pytest.fixture(scope="module")
def academy(postgres: Service) -> Iterator[Served]:
    with cloned(postgres, "template") as url, serving(url) as served:
        fill(served)
        yield served


def fill(api: Served) -> None:
    """Users, entries, levels, alerts, dead letters, positions, replays, a sweep."""
    api.rich(1, 2, credits=100)
    with api.client(role="admin") as client:
        for number, (path, order) in enumerate(
            [
                ("level-commands", {"command_id": "c-1", "user_id": 2, "xp_change": 600}),
                ("level-commands", {"command_id": "c-2", "user_id": 2, "xp_change": 50}),
                ("transfers", {"sender_id": 1, "receiver_id": 2, "amount": 10}),
            ]
        ):
            answer = client.post(f"/api/v1/{path}", json=order, headers={"Idempotency-Key": f"k-{number}"})
            assert answer.status_code == 201, answer.text
    told = json.dumps({"summary": "what must hold", "expected": "600", "found": "7", "explain": "laurels explain"})
    api.query(
        "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations) VALUES"
        """ (%s, 'INV-R01', 'user 2', 'critical', 'firing', '{"user_id": "2", "event_key": "command_c-1_level_2"}', %s),"""
        " (%s, 'SYNC-01', 'user 7', 'warning', 'resolved', '{}', %s)",
        *(FIRING, told, RESOLVED, told),
    )
    api.query(
        'INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail, user_id, key, value, headers)'
        " SELECT 'credit-transfers', 'l', 0, n, 'invalid_event', 'amount: is missing', 1, '1', '{}',"
        """ '[["ce-id", "eA=="]]' FROM generate_series(1, 102) AS n"""
    )
    api.query(
        "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)"
        " VALUES ('laurels', 'tournament-results', 0, 'l', 1000, 1234, 1), ('laurels', 'level-commands', 1, 'l', 5, 5, 2)"
    )
    api.query(
        "INSERT INTO replay_runs (id, status, request, checkpoints, counts, requested_by) VALUES"
        """ ('0f3a2b1c', 'running', %s, '{"tournament-results/0": 150}', '{"recorded": 49, "duplicates": 1}', 'ada')""",
        json.dumps({"parts": PARTS}),
    )
    api.query(
        "INSERT INTO scheduled_runs (task, started_by, finished_at, outcome) VALUES"
        """ ('sweep', 'a test', now() - interval '2 hours 1 minute', '{"users": 2}'),"""
        """ ('verify-chain', 'a test', now(), '{"error": "no"}')"""
    )
