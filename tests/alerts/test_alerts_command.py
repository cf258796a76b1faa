"""Operators see what fires, worst first, silence it for a while and say that they are at it."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from ops.cli import main
from schemas.alerts import AlertSeen
from sinks.alerts import raise_alerts, resolve_alerts

Laurels = Callable[..., Any]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


@pytest.fixture
def laurels(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], connection: Connection
) -> Laurels:
    """Run `laurels alerts` after three alerts were raised; what it printed, or the exit code."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with connection, connection.cursor() as cursor:
        raise_alerts(
            cursor,
            [
                AlertSeen(kind=kind, subject="user 5", expected="10", found="7", labels={"user_id": "5"})
                for kind in ("INV-R06", "INV-R01", "INV-R08")
            ],
        )
        resolve_alerts(cursor, [("INV-R08", "user 5")])

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as exit_:
            main(("alerts", *arguments))
        printed = capsys.readouterr().out
        if exit_.value.code:
            return exit_.value.code
        return json.loads(printed) if "--json" in arguments else printed

    return run


def kinds(listed: dict[str, Any]) -> list[str]:
    return [alert["kind"] for alert in listed["alerts"]]


def test_firing_alerts_are_listed_worst_first(laurels: Laurels) -> None:
    assert kinds(laurels("list", "--json")) == ["INV-R01", "INV-R06"]
    assert kinds(laurels("list", "--all", "--json")) == ["INV-R01", "INV-R06", "INV-R08"]
    assert kinds(laurels("list", "--kind", "INV-R06", "--json")) == ["INV-R06"]
    assert kinds(laurels("list", "--subject", "user 6", "--json")) == []
    assert "INV-R01" in laurels("list")


def test_one_alert_is_shown_with_what_explains_it(laurels: Laurels) -> None:
    fingerprint = laurels("list", "--json")["alerts"][0]["fingerprint"]
    assert laurels("show", fingerprint[:6], "--json")["annotations"]["explain"] == "laurels explain user 5"
    shown = laurels("show", fingerprint)
    assert "runbook: docs/runbooks/inv-r01.md" in shown
    assert shown.count("docs/runbooks") == 1


def test_an_acknowledgement_says_who_is_at_it(laurels: Laurels, connection: Connection) -> None:
    alerts = {alert["kind"]: alert["fingerprint"] for alert in laurels("list", "--all", "--json")["alerts"]}
    assert laurels("ack", alerts["INV-R01"], "--actor", "ada", "--json")["acknowledged_by"] == "ada"
    assert laurels("ack", alerts["INV-R08"]) == 3
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT actor, action, subject FROM audit_log")
        assert cursor.fetchall() == [("ada", "alerts.acknowledged", alerts["INV-R01"])]


def test_a_silence_lasts_as_long_as_it_was_meant_and_can_be_ended(laurels: Laurels, connection: Connection) -> None:
    made = laurels("silence", "--kind", "OPS-02", "--for", "4h", "--because", "known", "--actor", "ada", "--json")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind, subject, reason, created_by, expires_at - created_at FROM alert_silences")
        ((*silenced, lasting),) = cursor.fetchall()
    assert silenced == ["OPS-02", None, "known", "ada"]
    assert lasting.total_seconds() == 4 * 3600
    assert [silence["id"] for silence in laurels("list", "--json")["silences"]] == [made["id"]]
    assert "until" in laurels("list")
    laurels("unsilence", str(made["id"]))
    assert laurels("list", "--json")["silences"] == []
    assert laurels("unsilence", str(made["id"])) == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list", "--kind", "INV-R99"), 2),
        (("show", "zz"), 3),
        (("show", ""), 3),
        (("silence", "--for", "4h"), 2),
        (("silence", "--for", "forever", "--because", "x"), 2),
        (("silence", "--for", "4h", "--because", " "), 2),
    ],
)
def test_wrong_use_is_refused(laurels: Laurels, arguments: tuple[str, ...], code: int) -> None:
    assert laurels(*arguments) == code
