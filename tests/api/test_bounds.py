"""Nobody makes the server wait, or read, without end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from time import monotonic, sleep
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from api import limits, middleware, pool, service
from tests.api.serving import Served, serving

PATIENCE_SECONDS = 40.0
PRESENCE = {
    "event_id": "e",
    "user_id": 5,
    "session_id": 7,
    "status": "present",
    "occurred_at": "2024-01-02T03:04:05Z",
}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def rival(api: Served) -> Iterator[Connection]:
    """Somebody who keeps everyone else from the balances."""
    with closing(psycopg2.connect(api.database_url)) as rival:
        rival.cursor().execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield rival
        rival.rollback()


def test_a_body_that_stays_away_is_not_waited_for(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    where = urlsplit(api.url)
    with socket.create_connection((where.hostname, where.port), PATIENCE_SECONDS) as client:
        client.sendall(
            b"POST /api/v1/transfers HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
            b"Authorization: Bearer " + api.tokens["operator"].encode() + b"\r\nContent-Length: 60\r\n\r\n{"
        )
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"REQUEST_TIMEOUT"' in answer


def test_a_body_that_does_not_say_how_long_it_is_is_read_up_to_its_bound(api: Served) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    with api.client(role="operator") as client:
        answer = client.post("/api/v1/transfers", content=iter([b" " * 40_000] * 2), headers=headers)
    assert code(answer) == (413, "TOO_LARGE")


def test_a_request_that_cannot_be_answered_in_time_is_told_so(
    api: Served, rival: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "REQUEST_SECONDS", 0.5)
    with api.client(role="viewer") as client:
        answer = client.get("/api/v1/users/5/balances")
        rival.rollback()
    assert code(answer) == (504, "TIMED_OUT")


def test_whoever_finds_every_connection_in_use_is_told_to_try_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.2)
    with (
        serving(database_url, http_connections=1) as api,
        closing(psycopg2.connect(database_url)) as rival,
        api.client(role="viewer") as client,
    ):
        rival.cursor().execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        first = threading.Thread(target=client.get, args=("/api/v1/users/5/balances",))
        first.start()
        deadline = monotonic() + PATIENCE_SECONDS
        while not api.query(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            assert monotonic() < deadline
            sleep(0.01)
        answer = client.get("/api/v1/users/5/progress")
        rival.rollback()
        first.join(PATIENCE_SECONDS)
    assert code(answer) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["detail"] == "cannot serve just now: try again", "not: the database cannot serve"


def test_what_the_brokers_do_not_take_in_time_is_not_called_published(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PUBLISH_SECONDS", 0.5)
    with serving(database_url) as api, api.client(role="operator") as client:
        one = client.post("/api/v1/events/session-attendance", json=PRESENCE)
    assert code(one) == (503, "UNAVAILABLE")
