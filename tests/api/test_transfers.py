"""Transfers over HTTP: once per key, whole or not at all, whoever asks at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.api.serving import Served

ORDER = {"sender_id": 1, "receiver_id": 2, "amount": 30, "memo": "thanks"}


def give(client: httpx.Client, key: str | None, prefer: str | None = None, **changes: object) -> httpx.Response:
    headers = {name: value for name, value in (("Idempotency-Key", key), ("Prefer", prefer)) if value is not None}
    return client.post("/api/v1/transfers", json=ORDER | changes, headers=headers)


def test_the_first_time_pays_and_every_other_time_tells_what_came_of_it(api: Served) -> None:
    api.rich(1, 2)
    with api.client(role="operator") as client:
        first, again = give(client, "rent"), give(client, "rent")
        replayed = give(client, "rent", "return=replay")
    assert first.status_code == 201
    assert (first.json()["status"], first.json()["amount"]) == ("COMPLETED", 30)
    assert (again.status_code, again.json()["code"]) == (409, "DUPLICATE_TRANSFER")
    assert again.json()["transfer"] == first.json()
    assert (replayed.status_code, replayed.content) == (201, first.content)
    assert replayed.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert api.credits() == {1: 970, 2: 1_030}


def test_a_key_stands_for_one_transfer_of_its_sender(api: Served) -> None:
    api.rich(1, 2, 3)
    with api.client(role="operator") as client:
        assert give(client, "rent").status_code == 201
        for changes in ({"amount": 31}, {"receiver_id": 3}, {"memo": ""}):
            other = give(client, "rent", "return=replay", **changes)
            assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert give(client, "rent", sender_id=3).status_code == 201
    assert api.credits() == {1: 970, 2: 1_060, 3: 970}


def test_a_transfer_that_is_not_covered_stays_refused(api: Served) -> None:
    api.rich(1, credits=29)
    with api.client(role="operator") as client:
        answers = [give(client, "rent"), give(client, "rent", "return=replay")]
        api.query("UPDATE users SET credit_balance = 100, opening_credits = 100 WHERE id = 1")
        answers.append(give(client, "rent"))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "INSUFFICIENT_FUNDS")}
    assert api.credits() == {1: 100, 2: 0}


def test_what_is_wrong_with_a_request_is_said(api: Served) -> None:
    api.rich(1, 2)
    with api.client(role="operator") as client:
        answers = {
            "no key": give(client, None),
            "a key of nothing": give(client, ""),
            "a key with a space": give(client, "a b"),
            "no amount": client.post("/api/v1/transfers", json={}, headers={"Idempotency-Key": "k"}),
            "text for a number": give(client, "k", amount="30"),
            "nothing": give(client, "k", amount=0),
            "to oneself": give(client, "k", receiver_id=1),
            "no JSON": client.post(
                "/api/v1/transfers",
                content=b"{",
                headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
            ),
            "a form": client.post("/api/v1/transfers", data={"a": "b"}, headers={"Idempotency-Key": "k"}),
            "too much": give(client, "k", memo="x" * 70_000),
        }
    assert {what: (answer.status_code, answer.json()["code"]) for what, answer in answers.items()} == {
        "no key": (400, "IDEMPOTENCY_KEY_MISSING"),
        "a key of nothing": (400, "IDEMPOTENCY_KEY_MISSING"),
        "a key with a space": (400, "IDEMPOTENCY_KEY_INVALID"),
        "no amount": (422, "INVALID_EVENT"),
        "text for a number": (422, "INVALID_EVENT"),
        "nothing": (422, "INVALID_EVENT"),
        "to oneself": (422, "INVALID_EVENT"),
        "no JSON": (400, "UNDECODABLE"),
        "a form": (415, "UNSUPPORTED_MEDIA_TYPE"),
        "too much": (413, "TOO_LARGE"),
    }
    assert api.credits() == {1: 1_000, 2: 1_000}


def test_fifty_clients_with_one_key_pay_once(api: Served) -> None:
    api.rich(1, 2)
    with api.client(role="operator") as client, ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: give(client, "rent"), range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    (first,) = (answer.json() for answer in answers if answer.status_code == 201)
    assert all(answer.json()["transfer"] == first for answer in answers if answer.status_code == 409)
    assert api.credits() == {1: 970, 2: 1_030}
    assert api.query("SELECT count(*) FROM credit_transactions") == [(2,)]


def test_sixteen_threads_that_give_back_and_forth_lose_nothing_and_never_deadlock(api: Served) -> None:
    api.rich(1, 2, credits=100)

    def play(thread: int) -> list[int]:
        sender, receiver = (1, 2) if thread % 2 else (2, 1)
        return [
            give(client, f"{thread}-{turn}", sender_id=sender, receiver_id=receiver, amount=9).status_code
            for turn in range(8)
        ]

    with api.client(role="operator") as client, ThreadPoolExecutor(16) as threads:
        statuses = Counter(status for played in threads.map(play, range(16)) for status in played)
    assert set(statuses) <= {201, 422}
    assert statuses.total() == 128
    assert sum(api.credits().values()) == 200
    paid = api.query("SELECT count(*), sum(amount)::int FROM credit_transactions")
    assert paid == [(2 * statuses[201], 0)]
    assert api.query("SELECT count(*) FROM pg_stat_database WHERE datname = current_database() AND deadlocks > 0") == [
        (0,)
    ]


def test_a_transfer_is_on_record_with_who_asked_for_it_and_leaves_for_its_topic(api: Served) -> None:
    api.rich(1, 2)
    with api.client(role="operator") as client:
        for _ in range(2):
            give(client, "rent")
    ((actor, action, subject, same),) = api.query(
        "SELECT actor, action, subject, (SELECT recorded_at FROM credit_transfers) = recorded_at FROM audit_log"
        " WHERE action LIKE 'transfers.%%'"
    )
    assert (actor.startswith("a operator ("), action, subject, same) == (True, "transfers.create", "1-rent", True)
    sent = api.query("SELECT messages FROM outbox")
    assert sum(message.count('"topic":"credit-transfers"') for (message,) in sent) == 1
