"""What is done from a page is what the API does: once, by somebody who is named, on record."""

from collections.abc import Iterator

import pytest

from tests.api.serving import Served, serving
from tests.console.conftest import FIRING, RESOLVED, Visitor, fill
from tests.console.page import read


@pytest.fixture
def api(database_url: str) -> Iterator[Served]:
    with serving(database_url) as served:
        fill(served)
        yield served


def audited(api: Served) -> list[tuple[str, str]]:
    return [
        (action, actor.partition(" (")[0])
        for action, actor in api.query(
            "SELECT action, actor FROM audit_log WHERE action LIKE 'dead%%' OR action LIKE 'alerts%%' ORDER BY id"
        )
    ]


def test_a_dead_letter_is_retried_and_given_up(api: Served) -> None:
    operator = Visitor(api, "operator")
    page = operator.open("/dead-letters/1")
    retried = operator.send(page, "/dead-letters/1/retry")
    assert retried.headers["location"] == "/console/dead-letters/1?told=refused"
    assert "refused again" in operator.open("/dead-letters/1?told=refused").one("p", role="status").text
    nothing = operator.send(page, "/dead-letters/1/drop", reason=" ")
    assert (nothing.status_code, "reason: needed" in read(nothing.text).one("main").text) == (422, True)
    dropped = operator.send(page, "/dead-letters/1/drop", reason="sent by a broken gateway")
    after = operator.open(dropped.headers["location"].removeprefix("/console"))
    assert "sent by a broken gateway" in after.one("dl").facts()["Settled by"]
    assert [form.attributes["action"] for form in after.all("form", method="post")] == ["/console/logout"]
    late = operator.send(page, "/dead-letters/1/retry")
    assert (late.status_code, read(late.text).one("h1").text) == (409, "Too late")
    assert audited(api) == [("dead_letter.refused_again", "a operator"), ("dead_letter.dropped", "a operator")]


def test_an_alert_is_acknowledged_and_silenced(api: Served) -> None:
    operator = Visitor(api, "operator")
    page = operator.open(f"/alerts/{FIRING}")
    answer = operator.send(page, f"/alerts/{FIRING}/ack")
    shown = operator.open(answer.headers["location"].removeprefix("/console"))
    assert "acknowledged by a operator" in shown.one("main").text
    assert not shown.all("form", action=f"/console/alerts/{FIRING}/ack")
    silenced = operator.send(page, f"/alerts/{FIRING}/silence", **{"for": "4h", "reason": "known", "scope": "kind"})
    assert silenced.headers["location"] == f"/console/alerts/{FIRING}?told=silenced"
    assert api.query("SELECT kind, subject, reason FROM alert_silences") == [("INV-R01", None, "known")]
    assert operator.open("/alerts").all("table")[-1].all("th")[-1].text == "INV-R01"
    wrong = operator.send(page, f"/alerts/{FIRING}/silence", **{"for": "ever", "reason": "known"})
    assert (wrong.status_code, "for:" in read(wrong.text).one("main").text) == (422, True)
    assert audited(api) == [("alerts.acknowledged", "a operator"), ("alerts.silenced", "a operator")]


def test_what_does_not_fire_cannot_be_acknowledged(api: Served) -> None:
    operator = Visitor(api, "operator")
    page = operator.open(f"/alerts/{RESOLVED}")
    assert not page.all("form", action=f"/console/alerts/{RESOLVED}/ack")
    csrf = page.all("form", method="post")[0].fields()["csrf"]
    answer = operator.client.post(f"/console/alerts/{RESOLVED}/ack", data={"csrf": csrf})
    assert (answer.status_code, read(answer.text).one("h1").text) == (409, "Too late")
