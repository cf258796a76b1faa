"""`laurels publish` and `laurels generate`, as somebody types them."""

import io
import json
import os
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from ops.cli import main
from ops.generate import LARGEST
from ops.lines import MAX_LINE_BYTES, numbered_lines
from ops.season import SeasonSpec, generate_season
from schemas.events import EVENT_TOPICS, MAX_ID
from tests.ops.broker import DEADLINE_SECONDS, create_topics, java_partition, stored
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
    ('{"event":{}}', "no_line: topic: missing; where lines are just events, --topic"),
    (json.dumps(MINIMAL["tournament-results"]), "no_line: topic: missing"),
    ("\ufeff" + line("tournament-results"), "no_line: begins with a byte-order mark"),
    (line("tournament-results", event_id="a\0"), "invalid_event: event_id"),
    (line("tournament-results", user_id=5.0), "invalid_event: user_id"),
    (line("tournament-results", placement=5).replace(": 5,", ": 1e400,"), "invalid_event: user_id"),
    (line("tournament-results", user_id=2**63), "invalid_event: user_id"),
    (line("tournament-results", x=float("nan")), "no_line"),
    (line("tournament-results", x=" " * MAX_LINE_BYTES), "no_line: more than 1000000 bytes"),
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
    assert "would publish 1 record in" in capsys.readouterr().err
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


def test_standard_input_is_read_from_where_it_stands(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in `(read first; laurels publish -) < file`, where the shell has taken the first line."""
    file.write_text("first\n" + f"{line('tournament-results')}\n" * 3, encoding="utf-8")
    with file.open("rb") as opened:
        opened.seek(len("first\n"))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(opened))
        assert run("publish", "-", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["published"] == 3


def test_standard_streams_that_are_closed_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert run("publish", "-", "--dry-run") == 3
    assert capsys.readouterr().err == "laurels: -: standard input is closed\n"
    monkeypatch.setattr("sys.stdout", None)
    assert run("generate", *SMALL) == 3
    assert capsys.readouterr().err == "laurels: standard output is closed: --output names a file instead\n"


def test_a_file_that_changes_while_it_is_read_is_told(
    academy: list[str], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = line("tournament-results")
    file.write_text(f"{good}\n{good}\n", encoding="utf-8")

    def require_topics(*_: object) -> None:
        """Stands between the two readings of a file."""
        file.write_text(f"{good}\n{good[:-9]}\n", encoding="utf-8")

    monkeypatch.setattr("ops.publish.require_topics", require_topics)
    assert run("publish", str(file)) == 3
    assert capsys.readouterr().err == "laurels: the file changed while it was read: line 2 is no_line now\n"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r\n\r\n \t\r\n"])
def test_lines_may_end_as_they_do_elsewhere(ending: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes((ending or "\n").join([line("tournament-results")] * 2).encode() + ending.encode())
    assert run("publish", str(file), "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["published"] == 2


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_lines_is_nothing_to_publish(
    content: bytes, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    file.write_bytes(content)
    assert run("publish", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out)["published"] == 0


@pytest.mark.parametrize("length", [MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES + 3])
@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_line_has_an_end_and_the_lines_after_it_keep_their_numbers(length: int, ending: bytes) -> None:
    source = io.BytesIO(b"first\n" + b"x" * length + ending + b"last" * bool(ending))
    (_, first), (_, long), *last = numbered_lines(source)
    assert first == b"first"
    assert len(long) == min(length, MAX_LINE_BYTES + 1)
    assert last == ([(3, b"last")] if ending else [])


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
    for counted in ("--users", "--tournaments", "--sessions"):
        assert run("generate", counted, "-1") == 2
        assert run("generate", counted, "99999999999999") == 2
    assert run("generate", "--users", "0") == 2
    assert run("generate", "--first-id", "0") == 2
    assert run("generate", "--first-id", str(2**63 - 1)) == 2


def test_the_last_ids_there_may_be_are_within_their_limits(file: Path) -> None:
    assert run("generate", *SMALL, "--first-id", str(MAX_ID - LARGEST + 1), "-o", str(file)) == 0
    assert run("publish", str(file), "--dry-run") == 0


def test_an_event_that_the_brokers_do_not_confirm_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    real_kafka: str, namespace: str,
) -> None:  # fmt: skip
    topic = NewTopic(f"{namespace}tournament-results", 1, 1, config={"max.message.bytes": "100"})
    admin = AdminClient({"bootstrap.servers": real_kafka})
    admin.create_topics([topic])[topic.topic].result(DEADLINE_SECONDS)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", real_kafka)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    file.write_text(line("tournament-results"), encoding="utf-8")
    assert run("publish", str(file)) == 3
    assert "1 not delivered: tournament-results r-1: Broker: Message size too large" in capsys.readouterr().err


def test_a_topic_that_is_not_there_is_named_before_anything_is_sent(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    bootstrap_servers: str, namespace: str,
) -> None:  # fmt: skip
    there, missing = (namespace + topic for topic in ("tournament-results", "level-commands"))
    create_topics(bootstrap_servers, [there])
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    file.write_text(line("tournament-results"), encoding="utf-8")
    assert run("publish", str(file)) == 0
    capsys.readouterr()
    monkeypatch.setattr("ops.publish.ANSWER_SECONDS", 2)
    file.write_text(f"{line('tournament-results')}\n{line('level-commands')}\n", encoding="utf-8")
    assert run("publish", str(file)) == 3
    said = capsys.readouterr().err
    assert said == f"laurels: there is no topic {missing}: `laurels topics` creates what is missing\n"
    assert len(stored(bootstrap_servers, [there])) == 1


def test_a_broker_that_is_away_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("ops.publish.ANSWER_SECONDS", 1)
    file.write_text(line("tournament-results"), encoding="utf-8")
    assert run("publish", str(file)) == 3
    assert capsys.readouterr().err.startswith("laurels: no broker answers at 127.0.0.1:1: ")


def test_generate_writes_the_same_lines_to_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes], file: Path
) -> None:
    assert run("generate", *SMALL) == 0
    printed = capfdbinary.readouterr().out
    assert run("generate", *SMALL, "-o", str(file)) == 0
    assert file.read_bytes() == printed
    assert len(printed.splitlines()) > 50


def test_a_reader_who_has_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert run("generate", *SMALL) == 0
    assert capfdbinary.readouterr().err == b""
