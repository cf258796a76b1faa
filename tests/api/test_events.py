"""Publishing over HTTP: answered once the brokers have it, checked as the readers would."""

import json

from tests.api.conftest import Wired
from tests.api.serving import Served


def presence(user: int, session: int, **changes: object) -> dict[str, object]:
    said = {"event_id": f"e-{session}-{user}", "user_id": user, "session_id": session, "status": "present"}
    return {**said, "occurred_at": "2026-01-02T03:04:05Z", **changes}


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_an_event_is_stored_as_it_was_sent_with_who_sent_it(wired: Wired) -> None:
    said = json.dumps(presence(5, 7), indent=1).encode()
    with wired.api.client(role="operator") as client:
        answer = client.post(
            "/api/v1/events/session-attendance", content=said, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 202
    assert answer.json() == {"topic": "session-attendance", "key": "5", "id": "e-7-5"}
    ((key, value, headers),) = wired.records("session-attendance")
    assert (key, value) == (b"5", said)
    assert headers["ce_source"].startswith(b"/laurels/http/token:")
    ((action, detail),) = wired.api.query("SELECT action, detail FROM audit_log WHERE action LIKE 'events.%%'")
    assert (action, detail) == ("events.publish", {"count": 1, "first": ["e-7-5"]})


def test_a_batch_says_of_each_line_what_became_of_it(wired: Wired) -> None:
    body = lines(presence(5, 7), presence(5, 8, minutes=-1)) + b"\n{\n" + lines(presence(6, 7))
    with wired.api.client(role="operator") as client:
        headers = {"Content-Type": "application/jsonl"}
        mixed = client.post("/api/v1/events/session-attendance", content=body, headers=headers)
        good = client.post("/api/v1/events/session-attendance", content=lines(presence(6, 8)), headers=headers)
    assert mixed.status_code == 207
    told = [(result["line"], result["outcome"], result["code"]) for result in mixed.json()["results"]]
    assert told == [
        (1, "published", None),
        (2, "refused", "INVALID_EVENT"),
        (4, "refused", "UNDECODABLE"),
        (5, "published", None),
    ]
    assert (good.status_code, good.json()["published"]) == (202, 1)
    assert sorted(key for key, _, _ in wired.records("session-attendance")) == [b"5", b"6", b"6"]


def test_what_the_readers_would_refuse_is_not_published(api: Served) -> None:
    with api.client(role="operator") as client:
        path = "/api/v1/events/session-attendance"
        answers = [
            client.post(path, json=presence(5, 7, specialization="GOALKEEPER")),
            client.post(path, json=presence(5, 7, version=2)),
            client.post(path, json=presence(5, 7, occurred_at="2999-01-01T00:00:00Z")),
            client.post("/api/v1/events/reward-alerts", json=presence(5, 7)),
            client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}),
            client.post(path, content=b"\n" * 5, headers={"Content-Type": "application/jsonl"}),
            client.post(path, content=b"{}\n{", headers={"Content-Type": "application/jsonl"}),
            client.post(path, content=b"{}\n" * 1_001, headers={"Content-Type": "application/jsonl"}),
        ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (422, "INVALID_EVENT"),
        (422, "UNKNOWN_VERSION"),
        (422, "FUTURE_EVENT"),
        (422, "INVALID_REQUEST"),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
        (422, "EMPTY_BATCH"),
        (422, "ALL_REFUSED"),
        (413, "TOO_LARGE"),
    ]
