"""The oracle's reading of bytes and the parser's come to the same verdict, field by field, for whatever upstream sends."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.oracle.reading import Unreadable, read
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from schemas.parse import parse
from schemas.rewards import Refused
from tests.oracle.academy_log import AT, KEY_FIELDS, LEVELS, NOON_MS, command, presence, result, transfer

VALID: dict[str, dict[str, Any]] = {
    TOURNAMENT_RESULTS: result(1, 7, 3, participants=9, revision=2, specialization="COACH", skills=[{"name": "speed"}]),
    SESSION_ATTENDANCE: presence(1, 7, minutes=5, theory_hours=1, practice_hours=2, skills=[{"name": "speed", "performance": 50}]),
    LEVEL_COMMANDS: command(1, "c", new_level=2, xp_change=1, sessions_change=2, theory_hours_change=3,
                            practice_hours_change=-4, advanced_by=9, reason="well done"),
    CREDIT_TRANSFERS: transfer(1, 2, 5, "k", memo="thanks"),
    TOURNAMENT_ROSTERS: {"tournament_id": 1, "participants": 2, "user_ids": [4, 5], "finalized_at": AT},
}  # fmt: skip

RAW = [
    "null", "true", "false", "0", "-0", "1", "2", "-1", "1.0", "1e0", "1E2", "0.5", "-0.0", "100", "100.0000001", "101", "1e999",
    "1e-999", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "32767", "32768",
    "100000", "100001", "1000", "1001", "1440", "1441", "10000", "10001", "-10000", "-10001", "1000000000", "1000000001",
    "-1000000000", "-1000000001", '""', '"x"', '"1"', '"PLAYER"', '"player"', '"GOALKEEPER"', '"final"', '"withdrawn"', '"late"',
    '"a\\u0000b"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00\\ud800"', '"\\\\ud800"', '"a b"', '"\u00e9"', '"~!"', "[]", "{}",
    "[1]", "[1,1]", "[1,2.0]", "[true]", "[0]", '["1"]', "[null]",
    '[{"name":"speed"},{"name":"speed","performance":3}]', '[{"name":"speed","performance":null}]',
    '[{"name":"speed","performance":true}]', '[{"name":"speed","performance":"3"}]', '[{"name":"speed","performance":-0.0}]',
    '[{"name":"speed","performance":100.5}]', '[{"name":"speed","performance":1e999}]', '[{"name":"speed","performance":-1}]',
    '[{"name":"Speed"}]', '[{"name":"speed\\n"}]', '[{"name":"sp-eed"}]', '[{"name":null}]', "[{}]", "[[]]",
    '[{"name":"speed","name":"passing","more":[1]}]', '[{"name":"speed","performance":12345678901234567890123}]',
    '"2026-03-01T10:00:00z"', '"2026-03-01t10:00:00Z"', '"2026-03-01 10:00:00Z"', '"2026-03-01T10:00:00"',
    '"2026-03-01T10:00:00.Z"', '"2026-03-01T10:00:00,5Z"', '"2026-03-01T10:00:00.1234567899Z"', '"2026-03-01T10:00:00+0100"',
    '"2026-03-01T10:00:00+01:00"', '"2026-03-01T10:00:00-00:00"', '"2026-03-01T10:00:00+24:00"', '"2026-03-01T10:00:00+23:59"',
    '"2026-03-01T10:00:00+01:60"', '"2026-03-01T10:00:60Z"', '"2026-03-01T24:00:00Z"', '"2026-02-29T10:00:00Z"',
    '"1999-12-31T23:59:59.999999999Z"', '"2000-01-01T00:00:00Z"', '"2000-01-01T00:30:00+01:00"', '"1999-12-31T23:30:00-01:00"',
    '"9999-12-31T23:59:59Z"', '"9999-12-31T23:59:59-01:00"', '"0000-01-01T00:00:00Z"', '"2026-03-02T11:20:00Z"',
    '"2026-03-02T10:00:00Z"', '"2026-03-02T11:00:00Z"', '"2026-03-02T11:00:00.000001Z"', '"2026-3-1T10:00:00Z"', '"\u0662026-03-01T10:00:00Z"',
    '"2026-03-01T10:00:00Z\\n"', '"2026-03-01T10:00Z"', "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "'x'", "",
    "1" * 5000, "0." + "1" * 5000, '"' + "x" * 128 + '"', '"' + "x" * 129 + '"', '"' + "x" * 280 + '"', '"' + "x" * 281 + '"',
    '"' + "x" * 500 + '"', '"' + "x" * 501 + '"', '"' + "\u00e9" * 128 + '"', '"' + "\U0001f600" * 128 + '"',
    "[" * 31 + "]" * 31, "[" * 32 + "]" * 32, "[" * 20000 + "]" * 20000, "{" * 40,
]  # fmt: skip
"""Values as they may stand in JSON, and some that may not."""

FRAMES = [b"", b"\0\0\0\0\7", b"\0\0\0\0", b"\0", b"\xef\xbb\xbf", b" \n", b"\xc3\xa9", b"\1\0\0\0\7"]


def verdicts(topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int | None) -> tuple[Any, Any]:
    """What the parser says of a record, and what the oracle says."""
    parsed = parse(topic, key, value, timestamp_ms, LEVELS)
    try:
        said: Any = read(topic, key, value, timestamp_ms, LEVELS)
    except Unreadable as unreadable:
        said = unreadable.reason
    return (parsed.reason if isinstance(parsed, Refused) else "an event"), (
        said if isinstance(said, str) else "an event"
    )


def with_raw(topic: str, name: str, raw: str) -> bytes:
    """The valid event of a topic with `raw` in place of one member, or added."""
    members = {field: json.dumps(value) for field, value in VALID[topic].items()} | {name: raw}
    return ("{" + ",".join(f"{json.dumps(field)}:{text}" for field, text in members.items()) + "}").encode()


@pytest.mark.parametrize("topic", VALID)
def test_every_odd_value_in_every_field_gets_the_same_verdict(topic: str) -> None:
    differing = []
    for name in [*VALID[topic], "version", "unknown"]:
        for raw in RAW:
            value = with_raw(topic, name, raw)
            parser, oracle = verdicts(topic, b"1", value, NOON_MS)
            if parser != oracle:
                differing.append((name, raw[:60], parser, oracle))
    assert differing == []


@pytest.mark.parametrize("topic", VALID)
def test_every_missing_field_gets_the_same_verdict(topic: str) -> None:
    for name in VALID[topic]:
        event = {field: value for field, value in VALID[topic].items() if field != name}
        parser, oracle = verdicts(topic, b"1", json.dumps(event).encode(), NOON_MS)
        assert (name, parser) == (name, oracle)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("topic", VALID)
def test_every_frame_gets_the_same_verdict(topic: str, frame: bytes) -> None:
    parser, oracle = verdicts(topic, b"1", frame + json.dumps(VALID[topic]).encode(), NOON_MS)
    assert parser == oracle


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537])
@pytest.mark.parametrize("frame", [b"", b"\0\0\0\0\7"])
def test_size_counts_the_frame(length: int, frame: bytes) -> None:
    event = json.dumps(VALID[TOURNAMENT_RESULTS]).encode()
    value = frame + event + b" " * (length - len(event) - len(frame))
    assert verdicts(TOURNAMENT_RESULTS, b"1", value, None) == (
        ("an event",) * 2 if length <= 65_536 else ("undecodable",) * 2
    )


@pytest.mark.parametrize("key", [None, b"", b"1", b"01", b"+1", b" 1", b"1.0", b"2", b"\xff", "\u0661".encode()])
@pytest.mark.parametrize("topic", VALID)
def test_every_key_gets_the_same_verdict(topic: str, key: bytes | None) -> None:
    parser, oracle = verdicts(topic, key, json.dumps(VALID[topic]).encode(), NOON_MS)
    assert parser == oracle == ("an event" if key == b"1" else "key_mismatch")
    assert KEY_FIELDS.get(topic, "user_id") in VALID[topic]


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(
    topic=st.sampled_from(sorted(VALID)),
    changes=st.lists(
        st.tuples(
            st.sampled_from(sorted({name for event in VALID.values() for name in event} | {"version", "other"})),
            st.sampled_from(RAW)
            | st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                max_leaves=6,
            ).map(json.dumps),
        ),
        max_size=3,
    ),
    timestamp_ms=st.sampled_from([None, -1, 0, NOON_MS]),
)
def test_any_event_gets_the_same_verdict(topic: str, changes: list[tuple[str, str]], timestamp_ms: int | None) -> None:
    members = [(name, json.dumps(value)) for name, value in VALID[topic].items()] + changes
    value = ("{" + ",".join(f'"{name}":{raw}' for name, raw in members) + "}").encode()
    parser, oracle = verdicts(topic, b"1", value, timestamp_ms)
    assert parser == oracle


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(value=st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u01d8e-+. \n', max_size=30).map(str.encode))
def test_any_bytes_get_the_same_verdict(value: bytes) -> None:
    parser, oracle = verdicts(TOURNAMENT_RESULTS, b"1", value, None)
    assert parser == oracle
