"""What holds for every history, whatever it is."""

import copy
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import LevelCommand, SessionAttendance, Skill, TournamentResult
from schemas.payload import payload_hash
from schemas.rewards import (
    Counted,
    Duplicate,
    Grant,
    License,
    Progress,
    RatedResult,
    Rating,
    RatingPoint,
    Refused,
    Source,
    Stale,
    UserState,
)
from schemas.ruleset import RatingRule
from streams.rules import base_key, decide
from tests.rules.academy import (
    LEVELS,
    RULES,
    USER,
    Event,
    Student,
    attendance,
    command,
    day,
    result,
    transfer,
)

specializations = st.sampled_from(sorted(LEVELS))
skill_names = st.sampled_from(["passing", "speed", "vision"])
skill_lists = st.lists(st.builds(Skill, name=skill_names, performance=st.none() | st.floats(0, 100)), max_size=4).map(
    tuple
)
moments = st.integers(0, 4).map(day)
revisions = st.integers(1, 5)


@st.composite
def results(draw: st.DrawFn) -> TournamentResult:
    placement = draw(st.none() | st.integers(1, 12))
    return result(
        placement,
        tournament=draw(st.integers(1, 4)),
        revision=draw(revisions),
        status=draw(st.sampled_from(["final", "final", "final", "withdrawn"])),
        participants=draw(st.none() | st.integers(placement or 1, 16)),
        specialization=draw(specializations),
        skills=draw(skill_lists),
        occurred_at=draw(moments),
    )


@st.composite
def attendances(draw: st.DrawFn) -> SessionAttendance:
    return attendance(
        draw(st.sampled_from(["present", "late", "absent", "excused", "withdrawn"])),
        session=draw(st.integers(1, 15)),
        revision=draw(revisions),
        specialization=draw(specializations),
        theory_hours=draw(st.integers(0, 3)),
        practice_hours=draw(st.integers(0, 3)),
        skills=draw(skill_lists),
        occurred_at=draw(moments),
    )


@st.composite
def commands(draw: st.DrawFn) -> LevelCommand:
    return command(
        command_id=f"c-{draw(st.integers(1, 5))}",
        specialization=draw(specializations),
        new_level=draw(st.none() | st.integers(-1, 10) | st.sampled_from([-(2**63), 2**63 - 1])),
        xp_change=draw(st.integers(-5_000, 20_000)),
        sessions_change=draw(st.integers(-5, 30)),
        theory_hours_change=draw(st.integers(-2, 2)),
    )


transfers = st.builds(
    lambda key, amount, receiver: transfer(amount, idempotency_key=f"k-{key}", receiver_id=receiver),
    st.integers(1, 3),
    st.integers(1, 200),
    st.integers(6, 8),
)
events = st.one_of(results(), attendances(), commands(), transfers)
histories = st.lists(events, max_size=25)

totals = st.integers(-3_000, 30_000)
small = st.integers(-30, 30)
progresses = st.builds(
    Progress,
    level=st.integers(-1, 12),
    total_xp=totals,
    sessions=small,
    theory_hours=small,
    practice_hours=small,
    level_adjustment=small,
    milestones_paid=small,
)
points = st.builds(RatingPoint, moments, st.integers(1, 5))
ratings = st.dictionaries(skill_names, st.builds(Rating, rating=st.floats(0, 100), results=st.integers(1, 9)))
licenses = st.builds(
    License,
    level=st.integers(-1, 12),
    highest_level=st.integers(-1, 12),
    skills=ratings,
    adopted_skills=ratings,
    rated_to=st.none() | points,
)
sources = st.builds(
    Source,
    revision=st.integers(1, 4),
    payload_hash=st.none() | st.binary(min_size=1, max_size=1),
    ruleset=st.none() | st.just(RULES.hash),
    specialization=st.none() | specializations,
    xp_given=st.dictionaries(specializations, totals),
    credits_given=totals,
    skills_given=st.dictionaries(skill_names, totals),
    badges=st.frozensets(st.sampled_from(["CHAMPION", "RUNNER_UP", "FAIR_PLAY"])),
    counted=st.none() | st.builds(Counted, specializations, st.integers(0, 1), small, small),
)
rating_rules = st.builds(
    RatingRule, start=st.floats(0, 100), weight=st.floats(0, 1, exclude_min=True), digits=st.integers(0, 9)
)
rated_results = st.builds(
    RatedResult,
    placement=st.none() | st.integers(1, 4),
    participants=st.none() | st.integers(4, 8),
    skills=skill_lists,
    rule=rating_rules,
)


@st.composite
def states_and_events(draw: st.DrawFn) -> tuple[UserState, Event]:
    """Anything that tables could hold, however it came to be, and an event on a source that may be known."""
    event = draw(events)
    state = UserState(
        USER,
        LEVELS,
        credit_balance=draw(totals),
        progress=draw(st.dictionaries(specializations, progresses)),
        licenses=draw(st.dictionaries(specializations, licenses)),
        sources={base_key(event): source} if (source := draw(st.none() | sources)) else {},
        results=draw(st.dictionaries(specializations, st.dictionaries(points, rated_results, max_size=4), max_size=2)),
    )
    return state, event


def holds_together(progress: Progress, license_: License, specialization: str) -> bool:
    """DOMAIN's formula, and the coupling of the two."""
    needs = LEVELS[specialization]
    earned = max([level for level, need in enumerate(needs, start=1) if need <= progress.total_xp], default=1)
    level = max(1, min(earned + progress.level_adjustment, len(needs)))
    return progress.level == license_.level == level <= license_.highest_level


@given(states_and_events())
@settings(max_examples=200, deadline=None)
def test_every_event_on_every_state_is_decided_without_touching_the_state(case: tuple[UserState, Event]) -> None:
    state, event = case
    before = copy.deepcopy(state)
    decision = decide(state, event, payload_hash(event), RULES)
    assert isinstance(decision, Grant | Duplicate | Stale | Refused)
    assert decide(state, event, payload_hash(event), RULES) == decision
    assert state == before
    if isinstance(decision, Grant):
        state.advance(decision, base_key(event))
        for specialization in decision.progress_after.keys() | decision.licenses_after.keys():
            assert holds_together(state.progress[specialization], state.licenses[specialization], specialization)


@given(histories)
@settings(max_examples=100, deadline=None)
def test_progress_and_license_are_at_the_level_that_xp_and_commands_give_after_every_event(
    history: list[Event],
) -> None:
    student = Student()
    highest: dict[str, int] = {}
    for event in history:
        student.deliver(event)
        state = student.state
        assert state.progress.keys() == state.licenses.keys()
        for specialization, progress in state.progress.items():
            license_ = state.licenses[specialization]
            assert holds_together(progress, license_, specialization)
            assert license_.highest_level >= highest.get(specialization, 1)
            highest[specialization] = license_.highest_level


@given(histories)
@settings(max_examples=100, deadline=None)
def test_totals_are_the_sums_of_entries_and_of_what_the_sources_count_for(history: list[Event]) -> None:
    student = Student()
    student.deliver_together(*history)
    xp: Counter[str] = Counter()
    sessions: Counter[str] = Counter()
    for event, grant in student.recorded:
        for entry in grant.xp:
            xp[entry.specialization] += entry.amount
        if isinstance(event, LevelCommand):
            sessions[event.specialization] += event.sessions_change
    for source in student.state.sources.values():
        if source.counted is not None:
            sessions[source.counted.specialization] += source.counted.sessions
    progress = student.state.progress
    assert {name: (total.total_xp, total.sessions) for name, total in progress.items()} == {
        name: (xp[name], sessions[name]) for name in progress
    }
    assert student.state.xp_balance == xp.total()


@given(st.lists(st.one_of(results(), attendances()), max_size=25))
@settings(max_examples=100, deadline=None)
def test_the_entries_of_a_source_add_up_to_what_its_last_revision_earns(history: list[Event]) -> None:
    student = Student()
    sums: dict[str, Counter[Any]] = {}
    for event in history:
        decision = student.deliver(event)
        if not isinstance(decision, Grant):
            continue
        given_so_far = sums.setdefault(base_key(event), Counter())
        given_so_far.update({("xp", entry.specialization): entry.amount for entry in decision.xp})
        bonus_free = [entry for entry in decision.credits if not entry.type.startswith("ATTENDANCE_BONUS")]
        given_so_far["credits"] += sum(entry.amount for entry in bonus_free)
        given_so_far.update({("skill", entry.skill): entry.points for entry in decision.skills})
        alone = decide(UserState(USER, LEVELS), event, b"", RULES)
        assert isinstance(alone, Grant)
        expected: Counter[Any] = Counter({("xp", entry.specialization): entry.amount for entry in alone.xp})
        expected.update({"credits": sum(entry.amount for entry in alone.credits)})
        expected.update({("skill", entry.skill): entry.points for entry in alone.skills})
        assert {k: v for k, v in given_so_far.items() if v} == {k: v for k, v in expected.items() if v}


@given(histories)
@settings(max_examples=100, deadline=None)
def test_no_key_and_no_type_of_a_source_is_used_twice(history: list[Event]) -> None:
    student = Student()
    student.deliver_together(*history)
    grants = [grant for _, grant in student.recorded]
    keys = [entry.key for grant in grants for entry in (*grant.xp, *grant.credits)] + [g.event_key for g in grants]
    types = [(entry.semester_id, entry.type) for grant in grants for entry in grant.xp if entry.semester_id]
    rewards = [(entry.source_type, entry.source_id, entry.skill) for grant in grants for entry in grant.skills]
    for unique in (keys, types, rewards):
        assert max(Counter(unique).values(), default=1) == 1
    assert all(entry.amount for grant in grants for entry in (*grant.xp, *grant.credits))
    assert all(entry.points for grant in grants for entry in grant.skills)


@given(st.lists(results(), max_size=20), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_ratings_kept_up_are_the_ratings_computed_from_scratch(history: list[TournamentResult], batch: int) -> None:
    kept, from_scratch = Student(), Student(needed=lambda *_: set(LEVELS))
    for start in range(0, len(history), batch):
        kept.deliver_together(*history[start : start + batch])
        from_scratch.deliver_together(*history[start : start + batch])
        assert kept.state.licenses == from_scratch.state.licenses


@given(histories, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_delivering_a_history_again_changes_nothing(history: list[Event], batch: int) -> None:
    student = Student()
    for start in range(0, len(history), batch):
        student.deliver_together(*history[start : start + batch])
    before = copy.deepcopy(student.state)
    recorded = len(student.recorded)
    student.deliver_together(*history)
    student.state.results = before.results
    assert student.state == before
    assert len(student.recorded) == recorded
