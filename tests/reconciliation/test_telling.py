"""Alerts reach their webhook, and every kind has a page that says what to do."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg2
import pytest

from schemas.alerts import ALERT_KINDS
from schemas.messages import Alert
from sinks.adoption import report_adoption
from sinks.invariants.tournaments import Grace
from sinks.migration import migrate_to_head
from streams.reconciliation import sweep
from streams.webhook import Webhook

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
ALERT = Alert(
    fingerprint="f",
    kind="INV-R01",
    subject="user 5",
    severity="critical",
    status="resolved",
    labels={"user_id": "5"},
    annotations={"found": "7"},
    first_seen=AT,
    last_seen=AT,
    resolved_at=AT,
)


class Receiver:
    """An HTTP server that answers with these status codes, one after the other."""

    def __init__(self, answers: list[int]) -> None:
        received: list[object] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(answers.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.received = received
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/v2/alerts"


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    receiver = Receiver(list(request.param))
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def tell(url: str) -> bool:
    async def told() -> bool:
        webhook = Webhook(url)
        try:
            return await webhook.tell([ALERT])
        finally:
            await webhook.close()

    return asyncio.run(told())


@pytest.mark.parametrize("receiver", [(503, 200)], indirect=True)
def test_an_alert_is_posted_in_alertmanagers_form_until_it_is_taken(receiver: Receiver) -> None:
    assert tell(receiver.url)
    assert receiver.received == 2 * [
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
                "endsAt": "2026-03-01T10:00:00+00:00",
            }
        ]
    ]


@pytest.mark.parametrize("receiver", [(400,)], indirect=True)
def test_what_the_receiver_refuses_for_good_is_not_posted_again(receiver: Receiver) -> None:
    assert not tell(receiver.url)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("kind", ALERT_KINDS.values(), ids=lambda kind: kind.id)
def test_every_kind_of_alert_has_its_runbook(kind: object) -> None:
    page = Path(__file__).parents[2] / kind.runbook  # type: ignore[attr-defined]
    assert page.read_text().startswith(f"# {kind.id}: ")  # type: ignore[attr-defined]


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
