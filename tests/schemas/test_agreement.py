"""Whatever comes in, the quick way, the thorough way and the oracle's own reading say the same."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ops.oracle.reading import Fact, Unreadable, read
from schemas.events import (
    EVENT_TOPICS,
    TOURNAMENT_RESULTS,
    SessionAttendance,
    TournamentResult,
    event_subject,
    event_time,
)
from schemas.parse import EPOCH, _read_quickly, _read_thoroughly, parse, read_event
from schemas.payload import payload_hash
from schemas.rewards import Refused
from tests.schemas.examples import AT, SPECIALIZATIONS, encoded, members, with_member

FIELDS = sorted({name for kind in EVENT_TOPICS.values() for name in kind.__struct_fields__} | {"version", "x"})

numbers = (
    st.integers(-3, 12)
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**30, 100_000, 100_001, 32_767, 32_768, 1_440, 10_000, 10**9])
    | st.sampled_from([0.0, -0.0, 1.0, 50.5, 100.0, 1e300, 100.00000001])
)
words = st.sampled_from(
    [
        "",
        "5",
        "final",
        "present",
        "withdrawn",
        "late",
        "PLAYER",
        "COACH",
        "passing",
        "a b",
        "a\0",
        "é",
        "x" * 128,
        "x" * 129,
    ]
) | st.text(max_size=5)
skills = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["passing", "a1", "A"])},
        optional={"performance": numbers | st.none() | words, "y": numbers},
    ),
    max_size=3,
)
times = st.sampled_from(
    [
        AT, "2024-05-01T10:00:00.1234567Z", "2024-05-01T10:00:00.123456+02:00", "2024-05-01T10:00:60Z", "1999-12-31T23:59:59Z",
        "1999-12-31T23:59:59-00:01", "2024-05-01T10:00:00", "2024-05-01t10:00:00Z", "2024-02-30T00:00:00Z", "2024-05-01",
        "2024-05-01T10:00:00.9999999-23:59",
    ]
)  # fmt: skip
anything = st.recursive(
    numbers | words | st.none() | st.booleans() | times,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "z"]), inner, max_size=3),
    max_leaves=6,
)
changes = st.lists(
    st.tuples(st.sampled_from(FIELDS), anything | skills | times) | st.tuples(st.just("skills"), skills), max_size=4
)


@st.composite
def values(draw: st.DrawFn) -> tuple[str, bytes]:
    """An event, more or less: members changed, repeated and taken away, and now and then bytes changed as well."""
    topic = draw(st.sampled_from(sorted(EVENT_TOPICS)))
    pairs = [*members(topic).items(), *draw(changes)]
    if draw(st.integers(0, 9)) == 0:
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    ascii_only = draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
    joined = separators[0].join(
        f"{json.dumps(name)}{separators[1]}{json.dumps(value, ensure_ascii=ascii_only, separators=separators)}"
        for name, value in pairs
    )
    value = b"{" + joined.encode("utf-8", "surrogatepass") + b"}"
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(value)))
        removed = draw(st.integers(0, 2))
        inserted = draw(
            st.sampled_from([b"", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b".", b"e1", b"-", b"0", b"9" * 30])
            | st.sampled_from(
                [b"\0", b"\xff", b"\xc3\xa9", b"\x1f", b"\x7f", b" ", b"\\u0000", b"\\ud83d", b"NaN", b"null"]
            )
            | st.binary(max_size=2)
        )
        value = value[:at] + inserted + value[at + removed :]
    return topic, value


@settings(max_examples=250, deadline=None)
@given(values())
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"skills":[{"name":"a","performance":-0}]')))
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":"\\"occurred_at\\":\\"2024-05-01T10:00:00Z\\""')))
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":{"occurred_at":"2024-05-01T10:00:00Z"}')))
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":"version"')))
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":{"version":1}')))
@example((TOURNAMENT_RESULTS, with_member(TOURNAMENT_RESULTS, '"x":{"version":2}')))
def test_what_the_quick_way_accepts_the_thorough_way_reads_alike(case: tuple[str, bytes]) -> None:
    topic, value = case
    quick = _read_quickly(topic, value, SPECIALIZATIONS)
    if quick is not None:
        assert _read_thoroughly(topic, value, SPECIALIZATIONS) == quick


@settings(max_examples=250, deadline=None)
@given(values(), st.sampled_from([b"5", b"5", b"5", b"6", None]), st.sampled_from([None, 1_714_000_000_000, 0]))
def test_parser_and_oracle_agree(case: tuple[str, bytes], key: bytes | None, timestamp_ms: int | None) -> None:
    topic, value = case
    answer = parse(topic, key, value, timestamp_ms, SPECIALIZATIONS)
    expected = _oracle(topic, key, value, timestamp_ms)
    if isinstance(expected, str):
        assert isinstance(answer, Refused)
        assert answer.reason == expected
    else:
        assert not isinstance(answer, Refused), answer
        assert _same(expected, answer)


def _oracle(topic: str, key: bytes | None, value: bytes, timestamp_ms: int | None) -> Fact | str:
    try:
        return read(topic, key, value, timestamp_ms, SPECIALIZATIONS)
    except Unreadable as refused:
        return refused.reason


def _same(fact: Fact, event: Any) -> bool:
    occurred_us = (event_time(event) - EPOCH).total_seconds() * 1_000_000
    subject = fact.source if fact.kind == "roster" else fact.user_id
    revision = event.revision if isinstance(event, TournamentResult | SessionAttendance) else 1
    return (fact.occurred_us, subject, fact.revision) == (round(occurred_us), event_subject(event), revision)


@settings(max_examples=150, deadline=None)
@given(changes, changes, st.sampled_from(sorted(EVENT_TOPICS)))
def test_two_payloads_hash_alike_exactly_where_the_oracle_calls_them_the_same(
    first: list[tuple[str, Any]], second: list[tuple[str, Any]], topic: str
) -> None:
    values = [encoded(topic, **dict(each)) for each in (first, second)]
    facts, hashes = [], []
    for value in values:
        event = read_event(topic, value, SPECIALIZATIONS)
        if isinstance(event, Refused):
            return
        fact = read(topic, b"%d" % event_subject(event), value, None, SPECIALIZATIONS)
        facts.append(
            (fact.user_id, fact.source, fact.revision, fact.payload, fact.occurred_us if fact.kind == "roster" else 0)
        )
        hashes.append(payload_hash(event))
    assert (facts[0] == facts[1]) == (hashes[0] == hashes[1])


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=60),
    st.none() | st.binary(max_size=3),
    st.none() | st.integers(),
    st.sampled_from(sorted(EVENT_TOPICS)),
)
def test_the_parser_never_raises(value: bytes, key: bytes | None, timestamp_ms: int | None, topic: str) -> None:
    for each in (value, b"\0" + value, b"{" + value + b"}", encoded(topic)[:-1] + value):
        parse(topic, key, each, timestamp_ms, SPECIALIZATIONS)
