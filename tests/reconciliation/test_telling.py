"""Alerts reach their webhook, and what adoption says does not add up is among them."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import pytest
from msgspec import structs

from schemas.messages import Alert
from sinks.adoption import report_adoption
from sinks.alerts import HEARTBEAT
from sinks.invariants.tournaments import Grace
from sinks.migration import migrate_to_head
from streams import webhook
from streams.reconciliation import sweep
from streams.webhook import Webhook
from tests.schemas.examples import ALERT

RESOLVED = structs.replace(ALERT, status="resolved", resolved_at=ALERT.last_seen + timedelta(hours=1))

CUT, LATE = 0, 1
"""What else may come of a request: no answer, or none within the time."""


class Receiver:
    """An HTTP server that answers with these status codes, one after the other, and then with the last one."""

    def __init__(self, answers: list[int]) -> None:
        received: list[object] = []
        over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer == LATE:
                    over.wait()
                if answer in (CUT, LATE):
                    return
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/v2/alerts"
        self.let_go = over.set


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    receiver = Receiver(list(request.param))
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.let_go()
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 60)


def tell(url: str, alert: Alert = RESOLVED) -> bool:
    async def told() -> bool:
        webhook = Webhook(url)
        try:
            return await webhook.tell([alert])
        finally:
            await webhook.close()

    return asyncio.run(told())


@pytest.mark.parametrize("receiver", [(200,)], indirect=True)
def test_an_alert_is_posted_in_alertmanagers_form(receiver: Receiver) -> None:
    assert tell(receiver.url)
    assert receiver.received == [
        [
            {
                "labels": {
                    "alertname": "INV-R01",
                    "fingerprint": "f",
                    "severity": "critical",
                    "subject": "user 5",
                    "user_id": "5",
                },
                "annotations": {"found": "7"},
                "startsAt": "2026-03-01T10:00:00+00:00",
                "endsAt": "2026-03-01T11:00:00+00:00",
            }
        ]
    ]


@pytest.mark.parametrize("receiver", [(200,)], indirect=True)
def test_what_fires_goes_on_at_the_receiver_until_the_next_heartbeat_at_least(receiver: Receiver) -> None:
    assert tell(receiver.url, ALERT)
    (((posted,)),) = receiver.received
    assert datetime.fromisoformat(posted["endsAt"]) > ALERT.last_seen + HEARTBEAT


@pytest.mark.parametrize("receiver", [(500, CUT, 408, 503, 429, 302, 200)], indirect=True)
def test_it_is_posted_again_until_it_is_taken(receiver: Receiver) -> None:
    assert tell(receiver.url)
    assert len(receiver.received) == 7
    assert all(posted == receiver.received[0] for posted in receiver.received)


@pytest.mark.parametrize("receiver", [(LATE, 200)], indirect=True)
def test_who_does_not_answer_in_time_is_asked_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.5)
    assert tell(receiver.url)
    assert len(receiver.received) >= 2


@pytest.mark.parametrize("receiver", [(400,), (401,), (404,), (422,)], indirect=True)
def test_what_the_receiver_refuses_for_good_is_not_posted_again(receiver: Receiver) -> None:
    assert not tell(receiver.url)
    assert len(receiver.received) == 1


def test_a_sweep_of_an_adopted_database_lists_what_adoption_says_does_not_add_up(legacy_url: str) -> None:
    migrate_to_head(legacy_url)
    grace = Grace(timedelta(hours=24), timedelta(hours=72))
    found: dict[str, int] = {}
    for violation in sweep(lambda: psycopg2.connect(legacy_url), grace).violations:
        found[violation.kind] = found.get(violation.kind, 0) + len(violation.expected.split("; "))
    said = {(f.table, f.what): f.rows for f in report_adoption(legacy_url).findings}
    assert found["INV-R01"] == sum(rows for (table, what), rows in said.items() if what.startswith("XP balances"))
    assert found["INV-R02"] == said["users", "credit balances that are off"]
    assert "INV-R03" not in found
    assert found.get("SYNC-02", 0) == said["user_licenses", "progress without license (SYNC-02)"]
    assert found.get("SYNC-03", 0) == said["specialization_progress", "license without progress (SYNC-03)"]
