"""The API does all that it does with no more than the database role made for it."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from api.console.session import COOKIE
from tests.api.conftest import Wired
from tests.api.serving import serving
from tests.api.test_events import presence


@pytest.fixture
def as_api(wired: Wired) -> Iterator[str]:
    """The database's URL for a login that has nothing but `laurels_api`."""
    login = f"api_{secrets.token_hex(4)}"
    password = secrets.token_hex(8)
    url = wired.api.database_url
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{password}' IN ROLE laurels_api")
            parts = urlsplit(url)
            yield urlunsplit(parts._replace(netloc=f"{login}:{password}@{parts.netloc.rpartition('@')[2]}"))
            cursor.execute(f"DROP ROLE {login}")


def test_the_role_of_the_api_is_enough_for_every_write_and_each_is_on_record(wired: Wired, as_api: str) -> None:
    wired.api.rich(1, 2)
    wired.api.query(
        'INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail, key, value)'
        " VALUES (1, 'credit-transfers', 'l', 0, 0, 'invalid_event', '', '1', '{}')"
    )
    wired.api.query("INSERT INTO user_licenses (user_id, specialization_type, current_level) VALUES (1, 'PLAYER', 3)")
    wired.api.query(
        "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)"
        " VALUES (repeat('a', 32), 'INV-R01', 'user 1', 'critical', 'firing', '{}', '{}')"
    )
    given = {"topic_prefix": wired.settings.topic_prefix}
    token = wired.api.tokens["admin"]
    with (
        serving(wired.api.database_url, wired.settings.bootstrap_servers, served_by=as_api, **given) as api,
        api.client(token) as client,
    ):
        assert client.get("/readyz").status_code == 200
        order = {"sender_id": 1, "receiver_id": 2, "amount": 3}
        answers = [
            client.post("/api/v1/events/session-attendance", json=presence(1, 7)),
            client.post("/api/v1/transfers", json=order, headers={"Idempotency-Key": "k"}),
            client.post("/api/v1/level-commands", json={"command_id": "c", "user_id": 2, "new_level": 2}),
            client.post("/api/v1/dead-letters/1/retry"),
            client.post("/api/v1/dead-letters/1/drop", json={"reason": "sent by a broken gateway"}),
            client.post(f"/api/v1/alerts/{'a' * 32}/ack"),
            client.post(f"/api/v1/alerts/{'a' * 32}/silence", json={"for": "4h", "reason": "known"}),
            client.post("/api/v1/licenses/admin/sync/user/1"),
            client.post("/api/v1/licenses/admin/sync/all", json={"dry_run": False}),
        ]
        client.cookies.set(COOKIE, token)
        pages = [
            client.get(f"/console{path}") for path in ("/", "/alerts", "/replays", "/positions", "/users/1/entries")
        ]
    assert [answer.status_code for answer in answers] == [202, 201, 201, 200, 200, 200, 201, 200, 200]
    assert [page.status_code for page in pages] == [200] * 5
    audited = wired.api.query("SELECT action FROM audit_log WHERE actor LIKE 'a admin (%%' ORDER BY id")
    assert [action for (action,) in audited] == [
        *("events.publish", "transfers.create", "level_commands.create"),
        *("dead_letter.refused_again", "dead_letter.dropped", "alerts.acknowledged", "alerts.silenced"),
        *("sync.planned", "sync.applied", "sync.planned"),
    ]
