"""`laurels rules diff|simulate|publish` on a real broker and a real database."""

from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from ops.cli import main
from schemas.events import TOURNAMENT_RESULTS
from schemas.ruleset import load_default
from sinks.batch import Batch
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from streams import rules
from tests.oracle.academy_log import Academy, record, result
from tests.replay.rows import Laurels, everything, query

ACADEMY = Path("schemas/rulesets/academy.toml")


@pytest.fixture
def generous(tmp_path: Path) -> str:
    """The academy's rules, with more XP for the first place."""
    text = ACADEMY.read_text(encoding="utf-8")
    file = tmp_path / "generous.toml"
    first = load_default().content.tournament[0]
    assert f"xp = {first.xp}" in text
    file.write_text(text.replace(f"xp = {first.xp}", "xp = 777", 1), encoding="utf-8")
    return str(file)


def test_a_simulation_under_the_rules_that_decided_finds_no_difference(academy: Academy, laurels: Laurels) -> None:
    outcome = laurels("rules", "simulate", "active")
    assert (outcome["events"], outcome["users"]) == (24, [])
    assert outcome["has"] == outcome["would_have"]
    assert outcome["has"]["xp"] > 0


def test_a_simulation_shows_who_would_have_what_and_writes_nothing(
    academy: Academy, laurels: Laurels, generous: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(academy.url)
    first = load_default().content.tournament[0]
    outcome = laurels("rules", "simulate", generous)
    # User 1 won tournament 10, user 5 won tournament 11.
    assert {user["user_id"]: user["would_have"]["xp"] - user["has"]["xp"] for user in outcome["users"]} == {
        1: 777 - first.xp,
        5: 777 - first.xp,
    }
    assert everything(academy.url) == before
    with pytest.raises(SystemExit):
        main(["rules", "simulate", generous, "--csv", "--user", "5"])
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.startswith("user_id,has_xp,would_have_xp,")
    assert line.startswith("5,")


def test_rulesets_are_compared_field_by_field(academy: Academy, laurels: Laurels, generous: str) -> None:
    first = load_default().content.tournament[0]
    assert laurels("rules", "diff", generous, exits=1)["changes"] == [
        {"field": "tournament[0].xp", "from": first.xp, "to": 777}
    ]
    assert laurels("rules", "diff", str(ACADEMY))["changes"] == []


def test_a_published_ruleset_decides_from_then_on_and_what_is_recorded_keeps_its_own(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    published = laurels("rules", "publish", generous, "--actor", "ann")
    assert published["before"] == load_default().hash
    fresh = Ledger(connector(academy.url, name="replay-test"), rules, Identity("", ""))
    delivery = academy.delivery(record(TOURNAMENT_RESULTS, 99, result(7, 77, 1)))
    correction = academy.delivery(record(TOURNAMENT_RESULTS, 98, result(5, 11, 2, revision=2)))
    with closing(fresh):
        fresh.record(
            Batch(
                [structs.replace(delivery, coordinates=None), structs.replace(correction, coordinates=None)],
                origin="http",
            )
        )
    named = "SELECT event_key, ruleset FROM reward_receipts WHERE origin = 'http' ORDER BY 1"
    assert query(academy.url, named) == [
        ("tournament_11_result_5_r2", load_default().hash),
        ("tournament_77_result_7", published["active"]),
    ]
    assert query(academy.url, "SELECT hash FROM rulesets WHERE active") == [(published["active"],)]
    assert query(academy.url, "SELECT actor, action FROM audit_log") == [("ann", "ruleset.published")]
    assert laurels("verify")["differences"] == []
    assert laurels("rules", "publish", load_default().hash)["before"] == published["active"]
    assert "neither a file nor the hash" in laurels("rules", "publish", "0000000000000000", exits=3)


@pytest.fixture
def no_broker(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database, and Kafka nowhere."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.mark.usefixtures("no_broker")
def test_publishing_the_active_ruleset_says_that_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rules", "publish", load_default().hash])
    assert capsys.readouterr().out == f"{load_default().hash} (academy) was active already: nothing changes\n"


@pytest.mark.usefixtures("no_broker")
def test_what_is_wrong_with_a_ruleset_is_told_before_any_topic_is_asked(laurels: Laurels, tmp_path: Path) -> None:
    file = tmp_path / "poor.toml"
    file.write_text(ACADEMY.read_text(encoding="utf-8").replace("xp = 20", "xp = -20"), encoding="utf-8")
    assert "attendance.present.xp: Expected `int` >= 0" in laurels("rules", "simulate", str(file), exits=3)
