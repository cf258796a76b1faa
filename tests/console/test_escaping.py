"""Whatever upstream or an attacker wrote stands on a page as text."""

import base64
import json
from collections.abc import Iterator

import pytest

from tests.api.serving import Served, serving
from tests.console.conftest import FIRING, Visitor
from tests.services.databases import cloned
from tests.services.run import Service

EVIL = """<script>alert('1')</script>"><img src=x onerror="alert(2)">{{ 7 * 7 }}"""


@pytest.fixture(scope="module")
def attacked(postgres: Service) -> Iterator[Served]:
    with cloned(postgres, "template") as url, serving(url) as api:
        evil = json.dumps(EVIL)
        header = json.dumps([[EVIL, base64.b64encode(EVIL.encode()).decode()]])
        api.query(
            'INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail, event_key, key, value,'
            " headers, status, resolved_by, resolution) VALUES (1, %s, %s, 0, 0, 'invalid_event', %s, %s, %s, %s, %s,"
            " 'dropped', %s, %s)",
            *(EVIL, EVIL, EVIL, EVIL, EVIL.encode(), EVIL.encode(), header, EVIL, EVIL),
        )  # fmt: skip
        api.query(
            "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations, acknowledged_by)"
            " VALUES (%s, %s, %s, 'critical', 'firing', %s, %s, %s)",
            *(FIRING, EVIL[:50], EVIL, f'{{"event_key": {evil}, "user_id": {evil}, "topic": {evil}}}'),
            *(f'{{"summary": {evil}, "expected": {evil}, "found": {evil}, "explain": {evil}}}', EVIL),
        )
        api.query(
            "INSERT INTO alert_silences (kind, subject, reason, created_by, expires_at)"
            " VALUES (%s, %s, %s, %s, now() + interval '1 hour')",
            *(EVIL[:50], EVIL, EVIL, EVIL),
        )
        api.query(
            "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch,"
            " owner, stopped) VALUES (%s, %s, 0, %s, 0, 1, 1, %s, %s)",
            *(EVIL, EVIL, EVIL, EVIL, EVIL),
        )
        api.query(
            "INSERT INTO replay_runs (id, status, request, counts, requested_by, error) VALUES ('00000000', 'failed', %s, %s,"
            " %s, %s)",
            json.dumps({"parts": [{"topic": EVIL, "partition": 0, "start": 0, "end": 1}]}),
            *(json.dumps({EVIL: [EVIL]}), EVIL, EVIL),
        )
        api.query("INSERT INTO users (id, email) VALUES (1, %s)", EVIL)
        api.query(
            "INSERT INTO user_licenses (user_id, specialization_type, current_level, football_skills)"
            " VALUES (1, 'PLAYER', 1, %s)",
            json.dumps({EVIL: EVIL}),
        )
        api.query(
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, description, idempotency_key)"
            " VALUES (1, %s, 0, %s, %s)",
            *(EVIL[:50], EVIL, EVIL),
        )
        api.query(
            'INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, topic, log_id, "grant",'
            " occurred_at) VALUES (%s, 1, 1, 1, 'event', 'x', %s, %s, %s, now())",
            *(EVIL + "!", EVIL, EVIL, json.dumps({EVIL: EVIL})),
        )
        yield api


@pytest.mark.parametrize(
    ("path", "times"),
    [
        ("/", 4),
        ("/alerts", 4),
        (f"/alerts/{FIRING}", 8),
        ("/dead-letters?status=", 2),
        ("/dead-letters/1", 9),
        ("/positions", 4),
        ("/replays", 1),
        ("/replays/00000000", 4),
        ("/users/1/entries", 4),
        ("/explanation?entry=xp_transactions:1", 3),
    ],
)
def test_what_others_wrote_is_shown_and_is_never_markup(attacked: Served, path: str, times: int) -> None:
    page = Visitor(attacked, "admin").open(path)  # which refuses scripts, styles, handlers and foreign addresses
    assert [image.attributes["src"] for image in page.all("img")] == [page.all("img")[0].attributes["src"]]
    assert page.one("body").text.count("<script>alert('1')</script>") >= times
    assert "49" not in page.one("h1").text


@pytest.mark.parametrize(
    "path", ["/users/{}/entries", "/alerts?kind={}", "/dead-letters?reason={}", "/explanation?entry={}"]
)
def test_what_stands_in_an_address_is_never_markup(attacked: Served, path: str) -> None:
    answer = Visitor(attacked, "admin").client.get("/console" + path.format("%3Cscript%3Ealert(1)%3C/script%3E"))
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>" not in answer.text
