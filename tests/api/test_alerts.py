"""Alerts over HTTP: acknowledged and silenced, once, by somebody who is named."""

from datetime import datetime, timedelta

import pytest

from tests.api.serving import Served

FIRING, RESOLVED = "a" * 32, "b" * 32


def raised(api: Served) -> None:
    api.query(
        "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations) VALUES"
        " (%s, 'INV-R01', 'user 5', 'critical', 'firing', '{}', '{}'),"
        " (%s, 'SYNC-01', 'user 7', 'warning', 'resolved', '{}', '{}')",
        *(FIRING, RESOLVED),
    )


def test_a_firing_alert_is_acknowledged_by_whom_the_token_names(api: Served) -> None:
    raised(api)
    with api.client(role="operator") as client:
        answer = client.post(f"/api/v1/alerts/{FIRING}/ack")
        shown = client.get(f"/api/v1/alerts/{FIRING}").json()
    assert answer.status_code == 200
    assert answer.json() == shown
    assert shown["acknowledged_by"].startswith("a operator (")
    audited = api.query("SELECT actor, action, subject FROM audit_log WHERE action LIKE 'alerts.%%'")
    assert audited == [(shown["acknowledged_by"], "alerts.acknowledged", FIRING)]


def test_what_does_not_fire_cannot_be_acknowledged(api: Served) -> None:
    raised(api)
    with api.client(role="operator") as client:
        resolved = client.post(f"/api/v1/alerts/{RESOLVED}/ack")
        nowhere = client.post(f"/api/v1/alerts/{'c' * 32}/ack")
    assert (resolved.status_code, resolved.json()["code"]) == (409, "NOT_FIRING")
    assert nowhere.status_code == 404
    assert api.query("SELECT count(*) FROM audit_log WHERE action LIKE 'alerts.%%'") == [(0,)]


@pytest.mark.parametrize(
    ("scope", "kind", "subject"),
    [({}, "INV-R01", "user 5"), ({"scope": "kind"}, "INV-R01", None), ({"scope": "subject"}, None, "user 5")],
)
def test_a_silence_is_as_wide_and_lasts_as_long_as_it_was_meant(
    api: Served, scope: dict[str, str], kind: str | None, subject: str | None
) -> None:
    raised(api)
    with api.client(role="operator") as client:
        answer = client.post(f"/api/v1/alerts/{FIRING}/silence", json={"for": "4h", "reason": "known", **scope})
    made = answer.json()
    assert answer.status_code == 201
    assert (made["kind"], made["subject"], made["reason"]) == (kind, subject, "known")
    lasting = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lasting == timedelta(hours=4)
    kept = api.query("SELECT id, kind, subject, created_by FROM alert_silences")
    assert kept == [(made["id"], kind, subject, made["created_by"])]
    audited = api.query("SELECT actor, action, subject FROM audit_log WHERE action LIKE 'alerts.%%'")
    assert audited == [(made["created_by"], "alerts.silenced", str(made["id"]))]


def test_a_silence_without_a_reason_or_an_end_is_refused(api: Served) -> None:
    raised(api)
    wrong: list[dict[str, object]] = [
        {"reason": "known"},
        {"for": "forever", "reason": "known"},
        {"for": "0h", "reason": "known"},
        {"for": "4h"},
        {"for": "4h", "reason": " "},
        {"for": "4h", "reason": "kno\0wn"},
        {"for": "4h", "reason": "known", "scope": "everything"},
        {"for": "4h", "reason": "known", "until": "2030-01-01"},
    ]
    with api.client(role="operator") as client:
        answers = [client.post(f"/api/v1/alerts/{FIRING}/silence", json=body) for body in wrong]
        nowhere = client.post(f"/api/v1/alerts/{'c' * 32}/silence", json={"for": "4h", "reason": "known"})
    assert [answer.status_code for answer in answers] == [422] * len(wrong)
    assert all(word in answers[0].json()["detail"] for word in ("for", "required"))
    assert nowhere.status_code == 404
    assert api.query("SELECT count(*) FROM alert_silences") == [(0,)]
