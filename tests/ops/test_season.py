"""Made-up seasons: deterministic, consistent, and refused exactly where they are poison."""

import tomllib
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import msgspec

import schemas
from ops.oracle import Oracle, Record
from ops.season import SeasonLine, SeasonSpec, generate_season
from schemas.events import EVENT_TOPICS, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from schemas.rewards import RefusalReason

LEVELS = {
    "PLAYER": (0, 500, 1500, 3000, 5000, 8000, 12000, 18000),
    "COACH": (0, 1000, 2500, 4500, 7000, 10000, 14000, 20000),
    "INTERNSHIP": (0, 1000, 3000),
}
PUBLISHED_MS = 1_750_000_000_000
SPEC = SeasonSpec(users=60, tournaments=12, sessions=30, seed=4, duplicates=0.1, corrections=0.1, poison=0.2)


def lines(spec: SeasonSpec) -> list[SeasonLine]:
    return list(generate_season(spec))


def content(line: SeasonLine) -> dict[str, Any]:
    assert line.value is not None
    decoded: dict[str, Any] = msgspec.json.decode(line.value)
    return decoded


def test_the_same_seed_makes_the_same_season_and_another_seed_another() -> None:
    assert lines(SPEC) == lines(SPEC)
    assert lines(SPEC) != lines(replace(SPEC, seed=5))


def test_repetitions_and_poison_leave_the_facts_alone() -> None:
    calm = SeasonSpec(users=60, tournaments=12, sessions=30, seed=4, duplicates=0, corrections=0.1, poison=0)
    facts = [line for line in lines(SPEC) if line.kind == "event"]
    assert facts == [line for line in lines(calm) if line.kind == "event"]


def test_the_oracle_refuses_the_poison_each_for_its_reason_and_nothing_else() -> None:
    rules = tomllib.loads((Path(schemas.__file__).parent / "rulesets/academy.toml").read_text(encoding="utf-8"))
    oracle = Oracle(LEVELS, {"default": rules}, "default")
    reasons: Counter[str] = Counter()
    for offset, line in enumerate(generate_season(SPEC)):
        outcome = oracle.apply(Record(line.topic, 0, offset, line.key, line.value, PUBLISHED_MS))
        if line.kind == "poison":
            assert outcome.reason == line.reason
            reasons[line.reason or ""] += 1
        else:
            expected = {"event": {"recorded"}, "correction": {"recorded", "stale"}, "duplicate": {"duplicate", "stale"}}
            assert outcome.kind in expected[line.kind], (line, outcome)
    assert set(reasons) == set(get_args(RefusalReason)) - {"refused_by_database"}


def test_after_all_corrections_placements_agree_with_rosters() -> None:
    rosters: dict[int, dict[str, Any]] = {}
    results: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for line in lines(SeasonSpec(users=80, tournaments=20, sessions=1, corrections=0.5, duplicates=0)):
        if line.topic == TOURNAMENT_ROSTERS:
            rosters[int(line.key)] = content(line)
        elif line.topic == TOURNAMENT_RESULTS:
            result = content(line)
            known = results[result["tournament_id"]].get(result["user_id"])
            if known is None or known["revision"] < result["revision"]:
                results[result["tournament_id"]][result["user_id"]] = result
    assert set(rosters) == set(results)
    assert any(result["revision"] > 2 for each in results.values() for result in each.values())
    for tournament, roster in rosters.items():
        final = results[tournament]
        assert len(final) == roster["participants"]
        assert sorted(result["placement"] for result in final.values()) == list(range(1, len(final) + 1))
        assert {result["participants"] for result in final.values()} == {len(final)}
        assert roster["user_ids"] is None or sorted(final) == roster["user_ids"]


def test_what_is_delayed_comes_after_what_it_speaks_of() -> None:
    revisions: dict[tuple[str, bytes, int], int] = {}
    published: set[tuple[str, bytes, bytes | None]] = set()
    for line in lines(SPEC):
        if line.kind == "duplicate":
            assert line[1:4] in published
        if line.kind == "correction":
            corrected = content(line)
            source = (line.topic, line.key, corrected.get("tournament_id") or corrected["session_id"])
            assert corrected["revision"] > 1
            assert source in revisions
        if line.kind == "event" and "revision" in content(line):
            made = content(line)
            revisions[line.topic, line.key, made.get("tournament_id") or made["session_id"]] = made["revision"]
        published.add((line.topic, line.key, line.value))


def test_corrections_and_repetitions_are_spread_over_what_follows() -> None:
    spec = SeasonSpec(users=100, tournaments=20, sessions=100, duplicates=0.1, corrections=0.1)
    kinds = [line.kind for line in lines(spec)]
    for kind in ("correction", "duplicate"):
        assert any(kinds[at : at + 3] == ["event", kind, "event"] for at in range(len(kinds)))


def test_fractions_are_of_the_facts() -> None:
    spec = SeasonSpec(users=300, tournaments=60, sessions=150, duplicates=0.1, corrections=0.05, poison=0.02)
    kinds = Counter(line.kind for line in lines(spec))
    assert 0.08 < kinds["duplicate"] / kinds["event"] < 0.12
    assert 0.035 < kinds["correction"] / kinds["event"] < 0.065
    assert 0.01 < kinds["poison"] / kinds["event"] < 0.03


def test_every_topic_has_its_part() -> None:
    topics = Counter(line.topic for line in lines(SeasonSpec()))
    assert set(topics) == set(EVENT_TOPICS)
    assert topics[TOURNAMENT_ROSTERS] >= 20


def test_ids_begin_where_they_are_told_to() -> None:
    for line in lines(SeasonSpec(users=30, tournaments=3, sessions=5, first_id=10_000)):
        assert all(
            value >= 10_000 for name, value in content(line).items() if name.endswith("_id") and isinstance(value, int)
        )


def test_the_smallest_academy_has_a_season() -> None:
    assert lines(SeasonSpec(users=1, tournaments=1, sessions=1, poison=1))
    assert lines(SeasonSpec(users=1, tournaments=0, sessions=0)) == []


def test_a_season_is_streamed() -> None:
    assert len(list(islice(generate_season(SeasonSpec(users=10_000, tournaments=2_000, sessions=5_000)), 10))) == 10
