"""Rules and oracle agree on users whose progress and license are apart, or of whom one is missing."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ops.oracle import Oracle
from ops.oracle.state import Standing
from schemas.events import LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Grant, License, Progress, Refused, UserState
from schemas.ruleset import load_default
from streams.rules import base_key, decide
from tests.oracle.academy_log import LEVELS, command, presence, record, result
from tests.oracle.test_oracle import RULESET

RULES = load_default()
HASH = RULES.hash
SPECIALIZATIONS = ("PLAYER", "COACH")

progresses = st.none() | st.builds(
    Progress,
    level=st.integers(1, 8),
    total_xp=st.sampled_from([-100, 0, 490, 500, 2000, 9000]),
    sessions=st.sampled_from([-1, 0, 9, 19]),
    level_adjustment=st.integers(-3, 3),
)
licenses = st.none() | st.integers(1, 8)
highest = st.integers(0, 2)
specializations = st.sampled_from(SPECIALIZATIONS)
events = st.one_of(
    st.builds(
        lambda tournament, **fields: (TOURNAMENT_RESULTS, result(1, tournament, **fields)),
        tournament=st.integers(1, 2),
        placement=st.sampled_from([1, 5, None]),
        revision=st.integers(1, 4),
        status=st.sampled_from(["final", "final", "withdrawn"]),
        specialization=specializations,
    ),
    st.builds(
        lambda session, **fields: (SESSION_ATTENDANCE, presence(1, session, **fields)),
        session=st.integers(1, 2),
        revision=st.integers(1, 4),
        status=st.sampled_from(["present", "late", "absent", "withdrawn"]),
        specialization=specializations,
    ),
    st.builds(
        lambda name, **fields: (LEVEL_COMMANDS, command(1, name, **fields)),
        name=st.sampled_from("abcd"),
        new_level=st.none() | st.integers(1, 8),
        xp_change=st.sampled_from([0, 600, -300]),
        specialization=specializations,
    ),
)


def start(
    state: UserState, oracle: Oracle, specialization: str, progress: Progress | None, level: int | None, above: int
) -> None:
    """Let both begin from the same progress and license."""
    standing = Standing()
    if progress is not None:
        state.progress[specialization] = progress
        standing.level, standing.xp, standing.sessions = progress.level, progress.total_xp, progress.sessions
        standing.adjustment = progress.level_adjustment
    if level is not None:
        top = min(level + above, 8)
        state.licenses[specialization] = License(level=level, highest_level=top)
        standing.license, standing.highest = level, top
    if progress is not None or level is not None:
        oracle.user(1).standings[specialization] = standing


def decided(state: UserState, topic: str, event: dict[str, Any]) -> list[Any] | None:
    """What the rules decide, taken over; the level changes, None where nothing is granted."""
    each = record(topic, 0, event)
    parsed = parse(topic, each.key, each.value, None, LEVELS)
    assert not isinstance(parsed, Refused)
    rule_event: Any = parsed
    answer = decide(state, rule_event, payload_hash(parsed), RULES)
    if not isinstance(answer, Grant):
        if isinstance(answer, Refused) and answer.source_after is not None:
            state.sources[base_key(rule_event)] = answer.source_after
        return None
    state.advance(answer, base_key(rule_event))
    return sorted([change.specialization, change.from_level, change.to_level] for change in answer.level_changes)


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(
    starts=st.tuples(*[st.tuples(progresses, licenses, highest)] * 2),
    steps=st.lists(events, min_size=1, max_size=6),
)
def test_rules_and_oracle_settle_the_same_levels(
    starts: tuple[tuple[Progress | None, int | None, int], ...], steps: list[tuple[str, dict[str, Any]]]
) -> None:
    oracle = Oracle(LEVELS, {HASH: RULESET}, HASH)
    state = UserState(1, LEVELS)
    for specialization, (progress, level, above) in zip(SPECIALIZATIONS, starts, strict=True):
        start(state, oracle, specialization, progress, level, above)
    for offset, (topic, event) in enumerate(steps):
        outcome = oracle.apply(record(topic, offset, event))
        changes = decided(state, topic, event)
        recorded = outcome.receipt is not None and outcome.kind == "recorded"
        assert (changes is not None) == recorded
        if outcome.receipt is not None and recorded:
            assert changes == sorted(outcome.receipt.grant.get("levels", []))
        user = oracle.users.get(1)
        for specialization in SPECIALIZATIONS:
            standing = user.standings.get(specialization) if user else None
            progress, license_ = state.progress.get(specialization), state.licenses.get(specialization)
            found = progress and (
                progress.level,
                progress.total_xp,
                progress.sessions,
                progress.level_adjustment,
                progress.milestones_paid,
            )
            wanted = (
                (standing.level, standing.xp, standing.sessions, standing.adjustment, standing.milestones)
                if standing and standing.level is not None
                else None
            )
            assert found == wanted
            assert (license_ and (license_.level, license_.highest_level)) == (
                (standing.license, standing.highest) if standing and standing.license is not None else None
            )
