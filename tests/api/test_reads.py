"""What a user's account reads like over HTTP, and how the service speaks of itself."""

from tests.api.conftest import Wired
from tests.api.serving import Served, serving


def paid(api: Served) -> None:
    """User 1 gives user 2 ten credits, then twenty."""
    api.rich(1, 2, credits=100)
    with api.client(role="operator") as client:
        for key, amount in (("a", 10), ("b", 20)):
            order = {"sender_id": 1, "receiver_id": 2, "amount": amount}
            assert client.post("/api/v1/transfers", json=order, headers={"Idempotency-Key": key}).status_code == 201


def test_balances_are_told_as_of_a_moment(api: Served) -> None:
    paid(api)
    ((first,),) = api.query("SELECT recorded_at FROM credit_transfers WHERE idempotency_key = 'a'")
    with api.client(role="viewer") as client:
        now = client.get("/api/v1/users/2/balances").json()
        then = client.get("/api/v1/users/2/balances", params={"at": first.isoformat()}).json()
        before = client.get("/api/v1/users/2/balances", params={"at": "2020-01-01T00:00:00Z"}).json()
        wrong = client.get("/api/v1/users/2/balances", params={"at": "yesterday"})
        nobody = client.get("/api/v1/users/3/balances")
    assert (now["credits"], then["credits"], before["credits"]) == (130, 110, 100)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "INVALID_REQUEST")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "NOT_FOUND")


def test_entries_come_page_by_page_and_none_twice(api: Served) -> None:
    paid(api)
    with api.client(role="operator") as client:
        client.post("/api/v1/level-commands", json={"command_id": "c", "user_id": 2, "xp_change": 7})
        found, cursor = [], None
        for _ in range(4):
            page = client.get("/api/v1/users/2/entries", params={"limit": 1} | ({"cursor": cursor} if cursor else {}))
            found += page.json()["entries"]
            cursor = page.json()["next"]
            if cursor is None:
                break
        only_xp = client.get("/api/v1/users/2/entries", params={"kind": "xp"}).json()["entries"]
        bad = client.get("/api/v1/users/2/entries", params={"cursor": "bm9uZQ"})
    assert [(entry["kind"], entry["amount"]) for entry in found] == [("credits", 10), ("credits", 20), ("xp", 7)]
    assert [entry["idempotency_key"] for entry in only_xp] == ["command_c_xp_2"]
    assert bad.json()["code"] == "INVALID_CURSOR"


def test_progress_and_the_story_are_told(api: Served) -> None:
    with api.client(role="operator") as client:
        client.post("/api/v1/level-commands", json={"command_id": "c", "user_id": 2, "xp_change": 600})
        (standing,) = client.get("/api/v1/users/2/progress").json()["specializations"]
        story = client.get("/api/v1/users/2/explanation").json()
        entry = client.get("/api/v1/explanation", params={"entry": "command_c_xp_2"}).json()
    assert (standing["level"], standing["license_level"], standing["total_xp"]) == (2, 2, 600)
    assert [receipt["event_key"] for receipt in story["receipts"]] == ["command_c_level_2"]
    assert (entry["entry"]["amount"], entry["receipt"]["event_key"]) == (600, "command_c_level_2")
    assert (entry["history"], entry["rule"]) == (["command_c_level_2"], None)


def test_dead_letters_are_shown_retried_and_given_up(api: Served) -> None:
    api.query(
        'INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail, key, value) VALUES'
        " (1, 'credit-transfers', 'l', 0, 0, 'invalid_event', '', '1', '{}'),"
        " (2, 'credit-transfers', 'l', 0, 1, 'invalid_event', '', '1', '{}')"
    )
    with api.client(role="operator") as client:
        page = client.get("/api/v1/dead-letters", params={"limit": 1}).json()
        shown = client.get("/api/v1/dead-letters/1").json()
        retried = client.post("/api/v1/dead-letters/1/retry").json()
        dropped = client.post("/api/v1/dead-letters/2/drop", json={"reason": "sent by a broken gateway"})
        again = client.post("/api/v1/dead-letters/2/drop", json={"reason": "sent by a broken gateway"})
        late = client.post("/api/v1/dead-letters/2/retry")
    assert ([letter["id"] for letter in page["dead_letters"]], page["next"]) == ([1], 1)
    assert (shown["value"], shown["key"]) == ("{}", "1")
    assert (retried["outcome"], retried["reason"]) == ("refused", "invalid_event")
    assert dropped.json() == {"id": 2, "status": "dropped"}
    assert (again.json()["code"], late.json()["code"]) == ("NOT_OPEN", "NOT_OPEN")


def test_it_lives_without_a_broker_and_is_not_ready(api: Served) -> None:
    with api.client() as client:
        assert client.get("/livez").text == "ok\n"
        ready = client.get("/readyz?verbose")
        assert client.get("/version").json()["version"]
    assert ready.status_code == 503
    assert {check["name"]: check["ok"] for check in ready.json()["checks"]} == {"postgres": True, "kafka": False}


def test_it_is_ready_with_everything_there_and_counts_what_it_answers(wired: Wired) -> None:
    with wired.api.client(role="viewer") as client:
        assert client.get("/readyz").json() == {"ready": True, "checks": None}
        assert client.get("/api/v1/users/1/balances").status_code == 404
        metrics = client.get("/metrics").text
    line = 'laurels_http_requests_total{method="GET",route="/api/v1/users/{user_id}/balances",status="404"} 1.0'
    assert line in metrics.splitlines()


def test_without_a_database_it_lives_and_says_that_it_cannot_serve(database_url: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with serving(database_url, served_by=nowhere) as api, api.client(role="viewer") as client:
        refused = client.get("/api/v1/alerts")
        ready = client.get("/readyz?verbose")
        assert client.get("/livez").status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    assert "retry-after" in refused.headers
    assert ready.status_code == 503
