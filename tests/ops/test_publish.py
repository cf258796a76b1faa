"""`laurels publish` and `laurels generate`, as somebody types them."""

import io
import json
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ops.cli import main
from ops.season import SeasonSpec, generate_season
from schemas.events import EVENT_TOPICS
from tests.ops.broker import create_topics, java_partition, stored
from tests.schemas.examples import MINIMAL, encoded

SMALL = ["--users", "20", "--tournaments", "2", "--sessions", "4"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def line(topic: str, **changes: Any) -> str:
    return json.dumps({"topic": topic, "event": MINIMAL[topic] | changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def academy(bootstrap_servers: str, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The broker as the settings have it, with every topic of events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    topics = [namespace + topic for topic in EVENT_TOPICS]
    create_topics(bootstrap_servers, topics)
    return topics


def test_a_generated_season_with_its_poison_arrives_byte_for_byte(
    academy: list[str], bootstrap_servers: str, namespace: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", *SMALL, "--seed", "9", "--poison", "0.2", "-o", str(file)) == 0
    assert run("publish", str(file), "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    season = list(generate_season(SeasonSpec(users=20, tournaments=2, sessions=4, seed=9, poison=0.2)))
    arrived = stored(bootstrap_servers, academy)
    expected = Counter((namespace + each.topic, each.key, each.value) for each in season)
    assert Counter((each.topic, each.key, each.value) for each in arrived) == expected
    assert outcome["published"] == len(season)
    assert outcome["unchecked"] == sum(each.kind == "poison" for each in season) > 0
    assert outcome["topics"] == dict(Counter(each.topic for each in season))
    assert outcome["bad"] == []


def test_events_are_keyed_by_user_partitioned_as_java_does_and_in_order(
    academy: list[str], bootstrap_servers: str, file: Path
) -> None:
    values = [encoded("session-attendance", user_id=user, session_id=n) for n in range(1, 6) for user in range(1, 9)]
    file.write_bytes(b"\n".join(values))
    assert run("publish", str(file), "--topic", "session-attendance") == 0
    arrived = stored(bootstrap_servers, [each for each in academy if each.endswith("session-attendance")])
    for record in arrived:
        assert record.value is not None
        assert record.key is not None
        assert record.key == str(json.loads(record.value)["user_id"]).encode()
        assert record.partition == java_partition(record.key)
        assert record.headers["ce_type"] == b"laurels.session-attendance.v1"
    for user in range(1, 9):
        sessions = [json.loads(each.value or b"")["session_id"] for each in arrived if each.key == b"%d" % user]
        assert sessions == [1, 2, 3, 4, 5]


BAD_LINES = [
    ('{"topic":"tournament-results","event":{"event_id":"x"}}', "invalid_event: user_id: missing"),
    (line("tournament-results", placement=9, participants=8), "invalid_event: placement"),
    (line("tournament-results", version=2), "unknown_version"),
    (line("tournament-results", occurred_at="2199-01-01T00:00:00Z"), "future_event"),
    (line("tournament-results", specialization="GOALKEEPER"), "invalid_event: specialization"),
    (json.dumps({"topic": "tournament-results", "event": MINIMAL["tournament-results"], "key": "6"}), "key_mismatch"),
    (json.dumps({"topic": "tournament-results", "event": [1]}), "undecodable"),
    (line("tournament-results").replace("tournament-results", "reward-entries"), "no_line: topic"),
    ('{"topic":"tournament-results"}', "no_line: needs either event or raw"),
    ('{"topic":"tournament-results","event":{},"raw":null}', "no_line: needs either event or raw"),
    ('{"topic":"tournament-results","raw":"?"}', "no_line: raw: not base64"),
    ("not JSON", "no_line"),
    ('{"event":{}}', "no_line"),
    ("[" * 2_000, "no_line"),
]


def test_one_bad_line_refuses_the_file_and_every_bad_line_is_named(
    academy: list[str], bootstrap_servers: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = line("tournament-results")
    file.write_text("\n".join([good, *(bad for bad, _ in BAD_LINES), "", good]), encoding="utf-8")
    assert run("publish", str(file)) == 1
    said = capsys.readouterr().err.splitlines()
    for number, (_, reason) in enumerate(BAD_LINES, 2):
        assert any(each.startswith(f"line {number}: {reason}") for each in said), (number, reason, said)
    assert said[-1] == f"nothing published: {len(BAD_LINES)} bad lines"
    assert stored(bootstrap_servers, academy) == []


def test_bad_lines_can_be_left_out(
    academy: list[str], bootstrap_servers: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("\n".join([line("tournament-results"), "bad", line("level-commands")]), encoding="utf-8")
    assert run("publish", str(file), "--skip-bad", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["published"] == 2
    assert [bad["line"] for bad in outcome["bad"]] == [2]
    assert len(stored(bootstrap_servers, academy)) == 2


def test_a_dry_run_needs_no_broker_and_sends_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.chdir(file.parent)
    file.write_text(line("tournament-results") + "\n", encoding="utf-8")
    assert run("publish", str(file), "--dry-run") == 0
    assert "would publish 1 records" in capsys.readouterr().err
    assert run("publish", str(file)) == 3
    assert "KAFKA_BOOTSTRAP_SERVERS" in capsys.readouterr().err


def test_standard_input_is_read_like_a_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    content = f"{line('tournament-results')}\nbad\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Pipe(content)))
    assert run("publish", "-", "--dry-run", "--skip-bad", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["published"] == 1
    assert [bad["line"] for bad in outcome["bad"]] == [2]
    assert not file.exists()


def test_a_raw_line_may_hold_anything(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = [{"topic": "tournament-results", "key": "5", "raw": value} for value in (None, b64encode(b"\xff").decode())]
    file.write_text("\n".join(map(json.dumps, raw)), encoding="utf-8")
    assert run("publish", str(file), "--dry-run", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["unchecked"] == outcome["published"] == 2


def test_an_academys_own_specializations_can_be_named(file: Path) -> None:
    file.write_text(line("tournament-results", specialization="REFEREE"), encoding="utf-8")
    assert run("publish", str(file), "--dry-run") == 1
    assert run("publish", str(file), "--dry-run", "--specializations", "PLAYER,REFEREE") == 0


def test_a_file_that_is_not_there_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("publish", str(file), "--dry-run") == 3
    assert capsys.readouterr().err == f"laurels: {file}: No such file or directory\n"
    assert run("generate", "-o", str(file / "below")) == 3


def test_wrong_use_is_told_apart(file: Path) -> None:
    assert run("publish", str(file), "--topic", "results") == 2
    assert run("generate", "--poison", "2") == 2
    assert run("generate", "--users", "0") == 2


def test_brokers_that_do_not_confirm_are_an_error_that_names_the_events(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    bootstrap_servers: str, namespace: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", f"{namespace}missing-")
    monkeypatch.setattr("ops.publish.TIMEOUT_SECONDS", 1)
    file.write_text(line("tournament-results"), encoding="utf-8")
    assert run("publish", str(file)) == 3
    assert "tournament-results r-1" in capsys.readouterr().err


def test_generate_writes_the_same_lines_to_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes], file: Path
) -> None:
    assert run("generate", *SMALL) == 0
    printed = capfdbinary.readouterr().out
    assert run("generate", *SMALL, "-o", str(file)) == 0
    assert file.read_bytes() == printed
    assert len(printed.splitlines()) > 50
