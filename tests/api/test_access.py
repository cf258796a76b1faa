"""Every route with every role, made from the application's own routes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import get_args

import psycopg2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.app import create_app, refuse_unlisted
from api.roles import ACCESS, CONSOLE
from api.roles import Role as Needed
from schemas.settings import Settings
from sinks.tokens import Role, revoke_token
from tests.api.serving import NOWHERE, Served, serving
from tests.services.databases import cloned
from tests.services.run import Service

APP = create_app(Settings(database="postgresql://nobody@127.0.0.1:1/none", kafka=NOWHERE))
ROUTES = [
    (method, route.path)
    for route in APP.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in sorted(route.methods or ())
]
OF_THE_API = {
    (method, path): role for (method, path), role in ACCESS.items() if path != "/" and not path.startswith(CONSOLE)
}
NOTHING = {"user_id": "404", "id": "404", "topic": "tournament-results", "fingerprint": "0" * 32}


@pytest.fixture(scope="module")
def api(postgres: Service) -> Iterator[Served]:
    with cloned(postgres, "template") as url, serving(url) as served:
        yield served


@pytest.mark.parametrize("role", [None, *get_args(Role)])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_answers_whom_its_role_lets_in(api: Served, method: str, path: str, role: Role | None) -> None:
    needed = ACCESS[method, path]
    with api.client(role=role) as client:
        answer = client.request(method, path.format_map(NOTHING))
    if needed is Needed.PUBLIC:
        assert answer.status_code in {200, 503}
    elif role is None:
        assert answer.status_code == 401
        assert answer.json()["code"] == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"] == "Bearer"
    elif Needed[role.upper()] < needed:
        assert answer.status_code == 403
        assert answer.json()["detail"] == f"this takes the role {needed.name.lower()}"
    else:
        assert answer.status_code not in {401, 403}
        assert answer.status_code < 500
    if answer.status_code >= 400 and path != "/readyz":
        assert answer.headers["content-type"] == "application/problem+json"


def test_what_each_role_may_do_first_is_as_it_was_decided() -> None:
    writes = {path: role.name for (method, path), role in OF_THE_API.items() if method == "POST"}
    sync = "/api/v1/licenses/admin/sync"
    assert writes.pop(f"{sync}/all") == "ADMIN"
    assert {writes.pop(f"{sync}/user/{{user_id}}"), writes.pop(f"{sync}/user/{{user_id}}/all")} == {"INSTRUCTOR"}
    assert set(writes.values()) == {"OPERATOR"}
    assert ACCESS["GET", f"{sync}/desync-issues"].name == "INSTRUCTOR"
    public = {path for (_, path), role in OF_THE_API.items() if role is Needed.PUBLIC}
    assert public == {"/livez", "/readyz", "/metrics", "/version", "/openapi.json"}


def forgotten() -> str:
    return "nobody has said who may"


def test_a_route_without_a_role_cannot_be_served() -> None:
    app = FastAPI()
    app.get("/api/v1/forgotten")(forgotten)
    with pytest.raises(LookupError, match="GET /api/v1/forgotten"):
        refuse_unlisted(app)


def test_a_refusal_does_not_say_whether_the_thing_exists(api: Served) -> None:
    api.query('INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail)'
              " VALUES (1, 't', 'l', 0, 0, 'invalid_event', '')")  # fmt: skip
    with api.client(role="viewer") as client:
        there, nowhere = client.get("/api/v1/dead-letters/1"), client.get("/api/v1/dead-letters/404")
    assert there.status_code == nowhere.status_code == 403
    assert there.content == nowhere.content


def test_a_revoked_an_expired_and_a_made_up_token_let_nobody_in(api: Served) -> None:
    revoked = api.token("admin")
    expired = api.token("admin", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    other_secret = api.tokens["admin"][:-4] + "0000"
    with api.client(revoked) as client:
        assert client.get("/api/v1/alerts").status_code == 200
        prefix = revoked.split("_")[1]
        with psycopg2.connect(api.database_url) as connection, connection.cursor() as cursor:
            assert revoke_token(cursor, prefix, actor="a test") is not None
        connection.close()
        assert client.get("/api/v1/alerts").status_code == 401
    for token in (expired, other_secret, "laurels_", "x", "a.b.c", "é"):
        with api.client() as client:
            answer = client.get("/api/v1/alerts", headers={"Authorization": f"Bearer {token}".encode()})
            assert answer.status_code == 401, token


def test_a_token_that_asks_too_often_is_told_to_slow_down_and_others_are_not(database_url: str) -> None:
    with serving(database_url, http_requests_per_second=0.001, http_burst=3) as api:
        with api.client(role="viewer") as client:
            answers = [client.get("/api/v1/alerts") for _ in range(4)]
        with api.client(role="admin") as client:
            assert client.get("/api/v1/alerts").status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["retry-after"]) >= 1
    assert answers[3].json()["code"] == "TOO_MANY_REQUESTS"


def test_the_table_lists_nothing_that_is_not_served() -> None:
    assert set(OF_THE_API) == {*ROUTES, ("GET", "/openapi.json")}
