"""Ledger and oracle fold the same random events, delivered in random batches: every row must come out the same."""

from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from schemas.ruleset import load_default, parse_ruleset
from tests.oracle.academy_log import TOPICS, Academy

Step = tuple[str, Any]

USERS = 2
PLAYS = count(1)
"""Each example has users and tournaments of its own, so that all can share one database."""

RUNS = count(1)
ACADEMY_RULES = resources.files("schemas").joinpath("rulesets", "academy.toml").read_text(encoding="utf-8")
OTHERS = {
    "xp = 500\ncredits = 100": "xp = 1600\ncredits = 0",
    'badge = "RUNNER_UP"': 'badge = "SECOND"',
    "skill_points = 5": "skill_points = 0",
    "xp = 20\ncredits = 2\nskill_points = 1\ncounts = true": "xp = 0\ncredits = 3\nskill_points = 2\ncounts = false",
    "xp = 0\ncredits = 0\nskill_points = 0\ncounts = false": "xp = 5\ncredits = 0\nskill_points = 0\ncounts = true",
    "every_sessions = 10": "every_sessions = 2",
    "weight = 0.2": "weight = 0.5",
}
"""What other rulesets say in place of what the academy's says."""

RULESETS = [
    load_default(),
    *[parse_ruleset(ACADEMY_RULES.replace(old, new, 1)) for old, new in OTHERS.items()],
]

specializations = st.sampled_from(["PLAYER", "PLAYER", "PLAYER", "COACH", "INTERNSHIP"])
times = st.integers(1, 28).map(lambda day: f"2026-02-{day:02}T10:00:00{'.5' if day % 3 else ''}Z")
revisions = st.sampled_from([1, 1, 2, 2, 3, 3, 4, 5, 6, 7])
skills = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["passing", "speed", "heading"])},
        optional={"performance": st.none() | st.integers(0, 100) | st.floats(0, 100, allow_nan=False)},
    ),
    max_size=3,
)
users = st.integers(0, USERS - 1)


def _about(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), st.fixed_dictionaries(fields))


results = _about(
    "result",
    user=users,
    tournament=st.integers(0, 1),
    revision=revisions,
    status=st.sampled_from(["final", "final", "final", "withdrawn"]),
    placement=st.none() | st.sampled_from([1, 1, 2, 3, 5, 9]),
    participants=st.sampled_from([None, 9, 16]),
    specialization=specializations,
    skills=skills,
    occurred_at=times,
)
presences = _about(
    "presence",
    user=users,
    session=st.integers(0, 1),
    revision=revisions,
    status=st.sampled_from(["present", "present", "late", "absent", "excused", "withdrawn"]),
    specialization=specializations,
    theory_hours=st.integers(0, 3),
    practice_hours=st.integers(0, 3),
    skills=skills,
    occurred_at=times,
)
commands = _about(
    "command",
    user=users,
    command=st.integers(0, 7),
    specialization=specializations,
    new_level=st.none() | st.integers(0, 9),
    xp_change=st.sampled_from([0, 0, 450, 3000, -400, -3000, 20000]),
    sessions_change=st.sampled_from([0, 0, 9, 10, 21, -1, -10]),
    theory_hours_change=st.sampled_from([0, 0, -2]),
    occurred_at=times,
)
transfers = _about(
    "transfer",
    user=users,
    receiver=users,
    key=st.integers(0, 5),
    amount=st.sampled_from([1, 10, 60, 100, 150]),
    memo=st.sampled_from(["", "", "thanks"]),
    occurred_at=times,
)
rosters = _about(
    "roster",
    tournament=st.integers(0, 2),
    participants=st.integers(0, 3),
    user_ids=st.none() | st.just([1, 2]),
    finalized_at=st.sampled_from(["2026-02-01T10:00:00Z", "2026-02-02T10:00:00Z", "2026-02-02T11:00:00+01:00"]),
)
poison = st.tuples(
    st.just("poison"),
    st.tuples(
        st.sampled_from(TOPICS),
        st.sampled_from(
            [None, b"", b"[]", b'{"version": 2}', b"{}", b'{"user_id": 1}', b'{"a": "\\ud800"}', b"\xff", b"{" * 40]
        ),
    ),
)
again = st.tuples(st.just("again"), st.integers(0, 30))
deliveries = st.tuples(st.just("deliver"), st.tuples(st.permutations(TOPICS), st.integers(1, 4)))
changes = st.tuples(st.just("rules"), st.sampled_from(range(len(RULESETS))))
moves = st.one_of(
    results, results, presences, presences, commands, transfers, rosters, poison, again, deliveries, changes
)


def publish(academy: Academy, play: int, kind: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Make the event of a step, with this play's own ids."""
    fields = dict(fields)
    first = play * 10
    if kind == "roster":
        published = {**fields, "tournament_id": first + fields.pop("tournament")}
        del published["tournament"]
        return TOURNAMENT_ROSTERS, published
    user_id = first + fields.pop("user")
    if kind == "result":
        fields["tournament_id"] = first + fields.pop("tournament")
        if fields["placement"] is not None and fields["participants"] is not None:
            fields["placement"] = min(fields["placement"], fields["participants"])
        return TOURNAMENT_RESULTS, {"event_id": "e", "user_id": user_id, **fields}
    if kind == "presence":
        fields["session_id"] = first + fields.pop("session")
        return SESSION_ATTENDANCE, {"event_id": "e", "user_id": user_id, **fields}
    if kind == "command":
        return LEVEL_COMMANDS, {"command_id": f"c{fields.pop('command')}", "user_id": user_id, **fields}
    receiver = first + fields.pop("receiver")
    key = f"t{fields.pop('key')}"
    return CREDIT_TRANSFERS, {"idempotency_key": key, "sender_id": user_id, "receiver_id": receiver, **fields}


def perform(academy: Academy, play: int, steps: list[Step], starts: Mapping[str, int]) -> None:
    """Publish, deliver and change rules as the steps say, and deliver the rest."""
    published: list[tuple[str, dict[str, Any]]] = []
    for kind, what in steps:
        if kind == "deliver":
            academy.deliver(what[0], most=what[1])
        elif kind == "rules":
            academy.change_rules(f"{next(RUNS):08x}", RULESETS[what], starts)
        elif kind == "poison":
            academy.publish(*what)
        elif kind == "again":
            if published:
                academy.publish(*published[what % len(published)])
        else:
            published.append(publish(academy, play, kind, what))
            academy.publish(*published[-1])
    academy.deliver()


@pytest.fixture
def academy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Academy]:
    monkeypatch.setattr("ops.verification.shelf.KEPT", 100)  # most of what the examples remember is in the file
    academy = Academy(database_url)
    yield academy
    academy.close()


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=st.lists(moves, min_size=50, max_size=80))
def test_ledger_and_oracle_agree_on_every_row(academy: Academy, steps: list[Step]) -> None:
    play = next(PLAYS)
    starts = {topic: len(academy.topics.records[topic, 0]) for topic in TOPICS}
    perform(academy, play, steps, starts)
    report = academy.verify()
    event(f"{report.events // 500 * 500} events so far")
    ours = [
        difference
        for difference in report.differences
        if (difference.user_id is not None and difference.user_id // 10 == play)
        or (difference.event is not None and difference.event.offset >= starts[difference.event.topic])
    ]
    assert ours == []
