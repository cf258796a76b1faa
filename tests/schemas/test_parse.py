"""From bytes to an event or a refusal: JSON by the letter, the order of the checks, keys and times."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ops.season import SeasonSpec, generate_season
from schemas.events import (
    CREDIT_TRANSFERS,
    EVENT_TOPICS,
    LEVEL_COMMANDS,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
    Skill,
    TournamentResult,
)
from schemas.parse import _read_quickly, check_delivery, parse
from schemas.rewards import Refused
from tests.schemas.examples import AT, MINIMAL, MISSING, SPECIALIZATIONS, encoded, members, parsed, with_member

TOPICS = sorted(EVENT_TOPICS)
DAY_MS = 86_400_000
AT_MS = int(datetime.fromisoformat(AT).timestamp() * 1000)


def reason(answer: object) -> str | None:
    return answer.reason if isinstance(answer, Refused) else None


@pytest.mark.parametrize("topic", TOPICS)
def test_a_minimal_event_gets_its_defaults(topic: str) -> None:
    event = parsed(topic, encoded(topic))
    assert isinstance(event, EVENT_TOPICS[topic])
    moment = event.finalized_at if topic == TOURNAMENT_ROSTERS else event.occurred_at
    assert moment == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("topic", TOPICS)
def test_an_ordinary_event_takes_the_quick_way(topic: str) -> None:
    """The thorough way costs four times as much: without this test nothing would tell that everything takes it."""
    for value in (encoded(topic), json.dumps(members(topic), separators=(",", ":")).encode()):
        assert _read_quickly(topic, value, SPECIALIZATIONS) is not None
        with_version = value[:-1] + b', "version": 1}'
        assert _read_quickly(topic, with_version, SPECIALIZATIONS) is not None


def test_a_season_is_accepted_line_by_line() -> None:
    for line in generate_season(SeasonSpec(users=40, tournaments=5, sessions=10)):
        assert not isinstance(parse(line.topic, line.key, line.value, None, SPECIALIZATIONS), Refused)


UNDECODABLE = {
    "a tombstone": None,
    "nothing": b"",
    "no JSON": b"hello",
    "cut short": encoded(TOURNAMENT_RESULTS)[:-1],
    "more after it": encoded(TOURNAMENT_RESULTS) + b"{}",
    "a list": b"[" + encoded(TOURNAMENT_RESULTS) + b"]",
    "null": b"null",
    "a number": b"1",
    "a byte-order mark": b"\xef\xbb\xbf" + encoded(TOURNAMENT_RESULTS),
    "UTF-16": encoded(TOURNAMENT_RESULTS).decode().encode("utf-16"),
    "Latin-1 in a field": encoded(TOURNAMENT_RESULTS, event_id="é").decode().encode("latin-1"),
    "Latin-1 in an unknown field": with_member(TOURNAMENT_RESULTS, '"x":"é"').decode().encode("latin-1"),
    "a surrogate in UTF-8": with_member(TOURNAMENT_RESULTS, '"x":"?"').replace(b"?", b"\xed\xa0\x80"),
    "NaN": with_member(TOURNAMENT_RESULTS, '"x":NaN'),
    "Infinity": with_member(TOURNAMENT_RESULTS, '"x":Infinity'),
    "-Infinity": with_member(TOURNAMENT_RESULTS, '"x":-Infinity'),
    "a lone high surrogate": with_member(TOURNAMENT_RESULTS, r'"x":"\ud83d"'),
    "a lone low surrogate": with_member(TOURNAMENT_RESULTS, r'"x":"\uDE00"'),
    "a lone surrogate in a known field": with_member(TOURNAMENT_RESULTS, r'"event_id":"\ud83d"'),
    "a lone surrogate in a name": with_member(TOURNAMENT_RESULTS, r'"\ud83d":1'),
    "a lone surrogate that a later member replaces": with_member(TOURNAMENT_RESULTS, r'"x":"\ud83d","x":1'),
    "surrogates the wrong way round": with_member(TOURNAMENT_RESULTS, r'"x":"\ude00\ud83d"'),
    "an unknown escape": with_member(TOURNAMENT_RESULTS, r'"x":"\q"'),
    "a control character": with_member(TOURNAMENT_RESULTS, '"x":"\x01"'),
    "a NUL byte": with_member(TOURNAMENT_RESULTS, '"x":"\x00"'),
    "a leading zero": with_member(TOURNAMENT_RESULTS, '"x":01'),
    "a plus sign": with_member(TOURNAMENT_RESULTS, '"x":+1'),
    "a trailing comma": with_member(TOURNAMENT_RESULTS, '"x":[1,]'),
    "single quotes": with_member(TOURNAMENT_RESULTS, "'x':1"),
    "a comment": with_member(TOURNAMENT_RESULTS, '"x":1/* y */'),
    "33 levels": with_member(TOURNAMENT_RESULTS, '"x":' + "[" * 32 + "]" * 32),
    "33 levels of objects": with_member(TOURNAMENT_RESULTS, '"x":' + '{"a":' * 32 + "1" + "}" * 32),
    "33 levels that a later member replaces": with_member(TOURNAMENT_RESULTS, f'"x":{"[" * 32 + "]" * 32},"x":1'),
    "more levels than Python likes": b"[" * 60_000,
    "a frame cut short": b"\x00\x00\x00\x01",
    "a frame without anything": b"\x00\x00\x00\x00\x01",
    "another magic byte": b"\x01\x00\x00\x00\x01" + encoded(TOURNAMENT_RESULTS),
    "65,537 bytes": encoded(TOURNAMENT_RESULTS).ljust(65_537),
    "65,537 bytes with the frame": b"\x00\x00\x00\x00\x01" + encoded(TOURNAMENT_RESULTS).ljust(65_532),
}


@pytest.mark.parametrize("value", UNDECODABLE.values(), ids=UNDECODABLE)
def test_what_is_not_a_json_object_of_bounded_size_and_depth_is_undecodable(value: bytes | None) -> None:
    assert reason(parsed(TOURNAMENT_RESULTS, value)) == "undecodable"


def test_a_string_that_never_ends_is_looked_through_once() -> None:
    """Looked for anew from each of its quotes, its end costs seconds, and a topic full of it stops the reading."""
    refused = parsed(TOURNAMENT_RESULTS, b'{"x":"' + rb"\"" * 30_000 + b"[" * 33)
    assert isinstance(refused, Refused)
    assert refused.detail == "not JSON: Unterminated string starting at character 5"


DECODABLE = {
    "65,536 bytes": encoded(TOURNAMENT_RESULTS).ljust(65_536),
    "65,536 bytes with the frame": b"\x00\x00\x00\x00\x01" + encoded(TOURNAMENT_RESULTS).ljust(65_531),
    "a frame": b"\x00\xff\xff\xff\xff" + encoded(TOURNAMENT_RESULTS),
    "white space around": b"\r\n\t " + encoded(TOURNAMENT_RESULTS) + b" \n",
    "32 levels": with_member(TOURNAMENT_RESULTS, '"x":' + "[" * 31 + "]" * 31),
    "many levels after each other": with_member(TOURNAMENT_RESULTS, '"x":[' + "[]," * 50 + "[]]"),
    "brackets in a string": with_member(TOURNAMENT_RESULTS, '"x":"' + "[" * 50 + r"\"" + "{" * 50 + '"'),
    "a surrogate pair": with_member(TOURNAMENT_RESULTS, r'"x":"\ud83d\ude00"'),
    "an escaped backslash before a u": with_member(TOURNAMENT_RESULTS, r'"x":"\\ud83d"'),
    "an escaped NUL in an unknown field": with_member(TOURNAMENT_RESULTS, r'"x":"\u0000"'),
    "a number beyond doubles": with_member(TOURNAMENT_RESULTS, '"x":1e999'),
    "an integer beyond what Python converts": with_member(TOURNAMENT_RESULTS, f'"x":-{"9" * 5_000}'),
    "DEL": with_member(TOURNAMENT_RESULTS, '"x":"\x7f"'),
    "a name written with escapes": with_member(TOURNAMENT_RESULTS, r'"\u0072evision":1'),
    "an unknown field that is invalid elsewhere": with_member(TOURNAMENT_RESULTS, '"session_id":-1'),
}


@pytest.mark.parametrize("value", DECODABLE.values(), ids=DECODABLE)
def test_what_is_json_is_read_and_unknown_fields_change_nothing(value: bytes) -> None:
    assert parsed(TOURNAMENT_RESULTS, value) == parsed(TOURNAMENT_RESULTS, encoded(TOURNAMENT_RESULTS))


@pytest.mark.parametrize("version", ["2", "0", "1.0", '"1"', "null", "true", "[]", "10", "1e0", "9" * 5_000])
@pytest.mark.parametrize("rest", ["", ',"user_id":"nobody"'])
def test_another_version_is_unknown_whatever_else_is_wrong(version: str, rest: str) -> None:
    value = with_member(TOURNAMENT_RESULTS, f'"version":{version}{rest}')
    assert reason(parsed(TOURNAMENT_RESULTS, value)) == "unknown_version"


@pytest.mark.parametrize("member", ['"version":2,"version":1', '"version":"1","version" : 1', r'"\u0076ersion":1'])
def test_of_a_repeated_version_the_last_counts(member: str) -> None:
    assert reason(parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, member))) is None


def test_a_version_inside_an_unknown_field_is_not_the_events() -> None:
    assert reason(parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":{"version":2}'))) is None
    hidden = with_member(TOURNAMENT_RESULTS, '"x":{"version":1},"version":2')
    assert reason(parsed(TOURNAMENT_RESULTS, hidden)) == "unknown_version"


def test_a_time_inside_an_unknown_field_is_not_the_events() -> None:
    value = with_member(TOURNAMENT_RESULTS, f'"x":{{"occurred_at":"{AT}"}}')
    assert reason(parsed(TOURNAMENT_RESULTS, value)) is None
    assert reason(parsed(TOURNAMENT_RESULTS, value.replace(b"T", b" ", 1))) == "invalid_event"


def test_of_a_repeated_member_the_last_counts() -> None:
    event = parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"placement":"x","placement":3'))
    assert isinstance(event, TournamentResult)
    assert event.placement == 3
    refused = parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"placement":3,"placement":"x"'))
    assert reason(refused) == "invalid_event"


def test_of_a_repeated_time_the_last_counts() -> None:
    event = parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"occurred_at":"2024-06-01T10:00:00Z"'))
    assert isinstance(event, TournamentResult)
    assert event.occurred_at.month == 6
    assert reason(parsed(TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"occurred_at":"2024-06-01"'))) is not None


def test_a_skill_may_be_named_twice_and_stays_in_the_list() -> None:
    event = parsed(
        TOURNAMENT_RESULTS, encoded(TOURNAMENT_RESULTS, skills=[{"name": "a", "performance": 50}, {"name": "a"}])
    )
    assert isinstance(event, TournamentResult)
    assert event.skills == (Skill("a", 50.0), Skill("a"))


TIMES = {
    "2000-01-01T00:00:00Z": datetime(2000, 1, 1, tzinfo=UTC),
    "1999-12-31T23:00:00-01:00": datetime(2000, 1, 1, tzinfo=UTC),
    "2000-01-01T00:00:00.0000000Z": datetime(2000, 1, 1, tzinfo=UTC),
    "2024-05-01T10:00:00+02:00": datetime(2024, 5, 1, 8, tzinfo=UTC),
    "2024-05-01T10:00:00-00:00": datetime(2024, 5, 1, 10, tzinfo=UTC),
    "2024-05-01T10:00:00+23:59": datetime(2024, 4, 30, 10, 1, tzinfo=UTC),
    "2024-02-29T00:00:00Z": datetime(2024, 2, 29, tzinfo=UTC),
    "9999-12-31T23:59:59.999999Z": datetime.max.replace(tzinfo=UTC),
    "2024-05-01T10:00:00.5Z": datetime(2024, 5, 1, 10, 0, 0, 500_000, tzinfo=UTC),
    "2024-05-01T10:00:00.1234567Z": datetime(2024, 5, 1, 10, 0, 0, 123_456, tzinfo=UTC),
    "2024-05-01T10:00:00.9999999999999999999+01:00": datetime(2024, 5, 1, 9, 0, 0, 999_999, tzinfo=UTC),
}


@pytest.mark.parametrize(("text", "moment"), TIMES.items())
def test_a_time_is_an_instant_truncated_to_microseconds(text: str, moment: datetime) -> None:
    event = parsed(TOURNAMENT_RESULTS, encoded(TOURNAMENT_RESULTS, occurred_at=text))
    assert isinstance(event, TournamentResult), event
    assert event.occurred_at == moment
    assert event.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "1999-12-31T23:59:59Z",
        "2000-01-01T00:00:00+00:01",
        "2024-05-01T10:00:60Z",
        "2024-05-01T10:60:00Z",
        "2024-05-01T24:00:00Z",
        "2024-02-30T10:00:00Z",
        "2023-02-29T10:00:00Z",
        "2024-13-01T10:00:00Z",
        "2024-00-01T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "2024-05-01T10:00:00",
        "2024-05-01 10:00:00Z",
        "2024-05-01t10:00:00Z",
        "2024-05-01T10:00:00z",
        "2024-05-01T10:00Z",
        "2024-05-01T10:00:00.Z",
        "2024-05-01T10:00:00,5Z",
        "2024-05-01T10:00:00+0200",
        "2024-05-01T10:00:00+02",
        "2024-05-01T10:00:00+24:00",
        "2024-05-01T10:00:00+02:60",
        "2024-05-01T10:00:00 +02:00",
        "2024-05-01T10:00:00Z\n",
        " 2024-05-01T10:00:00Z",
        "20240501T100000Z",
        "2024-W18-3T10:00:00Z",
        "+2024-05-01T10:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "٢024-05-01T10:00:00Z",
        "2024-05-01",
        "",
    ],
)
def test_any_other_form_of_time_is_refused(text: str) -> None:
    for value in (
        encoded(TOURNAMENT_RESULTS, occurred_at=text),
        json.dumps(members(TOURNAMENT_RESULTS, occurred_at=text)).encode(),
    ):
        refused = parsed(TOURNAMENT_RESULTS, value)
        assert isinstance(refused, Refused)
        assert refused.detail.startswith("occurred_at: ")


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("key", [None, b"", b"6", b"05", b"5 ", b"+5", b"5.0", b'"5"', b"\xff", b"\0\0\0\0\0\0\0\x05"])
def test_a_record_must_be_keyed_by_the_decimal_id_it_is_about(topic: str, key: bytes | None) -> None:
    assert reason(parsed(topic, encoded(topic), key)) == "key_mismatch"


@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_may_be_24_hours_ahead_of_its_record_and_no_more(topic: str) -> None:
    value = encoded(topic)
    assert reason(parsed(topic, value, timestamp_ms=AT_MS - DAY_MS)) is None
    assert reason(parsed(topic, value, timestamp_ms=AT_MS - DAY_MS - 1)) == "future_event"
    assert reason(parsed(topic, value, timestamp_ms=0)) == "future_event"


@pytest.mark.parametrize("timestamp_ms", [None, -1])
def test_a_record_without_a_time_brings_events_of_any_time(timestamp_ms: int | None) -> None:
    value = encoded(TOURNAMENT_RESULTS, occurred_at="9999-12-31T23:59:59Z")
    assert reason(parsed(TOURNAMENT_RESULTS, value, timestamp_ms=timestamp_ms)) is None


def test_a_microsecond_too_far_ahead_is_too_far() -> None:
    value = encoded(TOURNAMENT_RESULTS, occurred_at="2024-05-01T10:00:00.000001Z")
    assert reason(parsed(TOURNAMENT_RESULTS, value, timestamp_ms=AT_MS - DAY_MS)) == "future_event"


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (
            encoded(TOURNAMENT_RESULTS, version=2, user_id=0, occurred_at="2199-01-01T00:00:00Z") + b"}",
            b"9",
            "undecodable",
        ),
        (
            encoded(TOURNAMENT_RESULTS, version=2, user_id=0, occurred_at="2199-01-01T00:00:00Z"),
            b"9",
            "unknown_version",
        ),
        (encoded(TOURNAMENT_RESULTS, user_id=0, occurred_at="2199-01-01T00:00:00Z"), b"9", "invalid_event"),
        (encoded(TOURNAMENT_RESULTS, occurred_at="2199-01-01T00:00:00Z"), b"9", "key_mismatch"),
        (encoded(TOURNAMENT_RESULTS, occurred_at="2199-01-01T00:00:00Z"), b"5", "future_event"),
    ],
)
def test_the_first_check_that_fails_is_the_reason(value: bytes, key: bytes, expected: str) -> None:
    assert reason(parsed(TOURNAMENT_RESULTS, value, key, AT_MS)) == expected


@pytest.mark.parametrize(
    ("topic", "key_field"),
    [
        (TOURNAMENT_RESULTS, "user_id"),
        (SESSION_ATTENDANCE, "user_id"),
        (LEVEL_COMMANDS, "user_id"),
        (CREDIT_TRANSFERS, "sender_id"),
        (TOURNAMENT_ROSTERS, "tournament_id"),
    ],
)
def test_each_topic_is_keyed_by_its_own_id(topic: str, key_field: str) -> None:
    value = encoded(topic, **{key_field: 2**63 - 1})
    assert reason(parsed(topic, value, b"9223372036854775807")) is None


def test_specializations_are_those_that_the_database_has() -> None:
    value = encoded(TOURNAMENT_RESULTS, specialization="REFEREE")
    assert not isinstance(parse(TOURNAMENT_RESULTS, b"5", value, None, ["REFEREE"]), Refused)
    assert reason(parse(TOURNAMENT_RESULTS, b"5", encoded(TOURNAMENT_RESULTS), None, ["REFEREE"])) == "invalid_event"


def test_a_topic_that_carries_no_events_is_a_refusal_and_no_error() -> None:
    assert reason(parsed("reward-alerts", encoded(TOURNAMENT_RESULTS))) == "invalid_event"


def test_a_delivery_is_checked_against_an_event_in_any_zone() -> None:
    east = timezone(timedelta(hours=2))
    event = TournamentResult(
        event_id="x", user_id=5, tournament_id=1, status="final", occurred_at=datetime(2024, 5, 1, 12, tzinfo=east)
    )
    assert check_delivery(event, b"5", AT_MS - DAY_MS) is None
    assert reason(check_delivery(event, b"5", AT_MS - DAY_MS - 1)) == "future_event"


def test_details_are_short_and_can_be_stored_as_text() -> None:
    for value in ("\0" * 10_000, {"a": "\0" * 10_000}, "é" * 10_000):
        refused = parsed(TOURNAMENT_RESULTS, encoded(TOURNAMENT_RESULTS, user_id=value))
        assert isinstance(refused, Refused)
        assert refused.detail.isascii()
        assert refused.detail.isprintable()
        assert len(refused.detail) < 200


def test_required_fields_are_those_without_a_default() -> None:
    for topic, fields in MINIMAL.items():
        for field in fields:
            refused = parsed(topic, encoded(topic, **{field: MISSING}))
            assert isinstance(refused, Refused)
            assert refused.detail == f"{field}: missing"
