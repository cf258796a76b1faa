"""A database that is empty, not adopted, or of an earlier release: whoever asks is told what mends it."""

from collections.abc import Iterator

import httpx
import pytest

from sinks.migration import migrate_to, migrate_to_head, revisions
from tests.api.serving import Served, serving
from tests.api.test_events import presence
from tests.services.databases import execute

DETAIL = "the database is not migrated: run `laurels migrate`"


@pytest.fixture(params=["empty", "academy"])
def unmigrated(request: pytest.FixtureRequest, database_url: str, legacy_url: str) -> Iterator[Served]:
    """Tokens are made elsewhere: there is no table for them."""
    if request.param == "empty":
        execute(legacy_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with serving(database_url, served_by=legacy_url) as served:
        yield served


def said(answer: httpx.Response) -> tuple[int, str, str, str, str]:
    problem = answer.json()
    headers = answer.headers
    return answer.status_code, headers["content-type"], headers["retry-after"], problem["code"], problem["detail"]


def postgres(client: httpx.Client) -> tuple[bool, str]:
    """What `/readyz` says of Postgres."""
    answer = client.get("/readyz?verbose")
    assert answer.status_code == 503, "there is no broker either"
    (check,) = [check for check in answer.json()["checks"] if check["name"] == "postgres"]
    return check["ok"], check["detail"]


def test_whatever_is_asked_of_a_database_that_is_not_migrated_is_answered_by_what_mends_it(unmigrated: Served) -> None:
    with unmigrated.client(role="admin") as client:
        answers = [
            client.get("/api/v1/alerts"),
            client.post("/api/v1/transfers", json={}, headers={"Idempotency-Key": "k"}),
            client.post("/api/v1/events/session-attendance", json=presence(1, 7)),
        ]
        assert postgres(client) == (False, DETAIL)
        assert client.get("/livez").status_code == 200, "to start it again would not help"
    told = (503, "application/problem+json", "2", "UNAVAILABLE", DETAIL)
    assert [said(answer) for answer in answers] == [told] * 3


def test_what_the_ledger_misses_in_an_earlier_release_is_told_until_it_is_migrated(database_url: str) -> None:
    migrate_to(database_url, "0018")
    order = {"command_id": "c", "user_id": 2, "xp_change": 7}
    with serving(database_url) as api, api.client(role="operator") as client:
        refused = client.post("/api/v1/level-commands", json=order)
        behind = postgres(client)
        migrate_to_head(database_url)
        assert client.post("/api/v1/level-commands", json=order).status_code == 201
        assert postgres(client)[0]
    assert said(refused) == (503, "application/problem+json", "2", "UNAVAILABLE", DETAIL)
    assert behind == (False, DETAIL)


def test_readiness_tells_the_release_before_ours_from_the_one_after(database_url: str) -> None:
    with serving(database_url) as api, api.client() as client:
        migrate_to(database_url, revisions()[-2])
        assert postgres(client) == (False, DETAIL)
        api.query("UPDATE alembic_version SET version_num = 'of a later release'")
        assert postgres(client)[0]
