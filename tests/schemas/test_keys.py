"""Keys: one form, never two meanings."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.events import MAX_ID
from schemas.keys import adjusting_run, make_key, transfer_source

ids = st.integers(1, MAX_ID) | st.integers(1, 9)
revisions = st.none() | st.integers(2, 32_767)
pieces = st.sampled_from(
    ["_", "-", "xp", "level", "r2", "reversal", "5", "1", "transfer", "debit", "attendance", "bonus"]
)
names = (st.text(min_size=1, max_size=128) | st.lists(pieces, min_size=1, max_size=8).map("_".join)).map(
    lambda s: s[:128]
)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128) | st.lists(
    pieces, min_size=1, max_size=8
).map("-".join)

tournament = st.tuples(
    st.just("tournament"), ids, st.sampled_from(["result", "reward", "xp"]), ids, revisions, st.booleans()
)
session = st.tuples(
    st.just("session"),
    ids,
    st.sampled_from(["presence", "attendance", "attendance_bonus", "xp"]),
    ids,
    revisions,
    st.booleans(),
)
command = st.tuples(st.just("command"), names, st.sampled_from(["level", "xp"]), ids, st.none(), st.just(False))
transfer = st.tuples(
    st.just("transfer"),
    st.tuples(ids, printable),
    st.sampled_from(["transfer", "debit", "credit"]),
    ids,
    st.none(),
    st.just(False),
)
enrollment = st.tuples(
    st.just("enrollment"),
    ids,
    st.sampled_from(["payment", "refund"]),
    ids,
    st.none(),
    st.just(False),
)
subjects = tournament | session | command | transfer | enrollment


def key(subject: tuple[Any, ...]) -> str:
    source_type, source, operation, user, revision, reversal = subject
    source_id = transfer_source(*source) if source_type == "transfer" else source
    return make_key(source_type, source_id, operation, user, revision=revision, reversal=reversal)


def meaning(subject: tuple[Any, ...]) -> tuple[Any, ...]:
    """A reversal is one of a correction: without a revision there is none."""
    *rest, revision, reversal = subject
    return (*rest, revision, reversal and revision is not None)


@given(subjects, subjects)
@example(("command", "a", "level", 5, None, False), ("command", "a_level_5", "level", 5, None, False))
@example(("command", "a_xp_5", "level", 5, None, False), ("command", "a", "xp", 5, None, False))
@example(("transfer", (1, "1-1"), "debit", 1, None, False), ("transfer", (1, "1"), "debit", 1, None, False))
@example(("transfer", (11, "1"), "debit", 11, None, False), ("transfer", (1, "1-1"), "debit", 11, None, False))
def test_different_things_have_different_keys(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    assert (key(first) == key(second)) == (meaning(first) == meaning(second))


@given(st.lists(pieces, min_size=1, max_size=6), st.sampled_from(["level", "xp"]), st.integers(1, 20), st.data())
def test_a_command_id_that_looks_like_a_key_is_no_other_command(
    parts: list[str], operation: str, user: int, data: st.DataObject
) -> None:
    """Two ways to cut one text into command id, operation and user would be two meanings of one key."""
    whole = make_key("command", "_".join(parts), operation, user)  # type: ignore[arg-type]
    cut = data.draw(st.integers(1, len(parts)))
    other = make_key("command", "_".join(parts[:cut]), operation, user)  # type: ignore[arg-type]
    assert (whole == other) == (cut == len(parts))


@given(subjects)
@example(("command", "x" * 128, "level", MAX_ID, None, False))
@example(("transfer", (MAX_ID, "x" * 128), "transfer", MAX_ID, None, False))
@example(("session", MAX_ID, "attendance_bonus", MAX_ID, 32_767, True))
def test_a_key_fits_its_column(subject: tuple[Any, ...]) -> None:
    assert len(key(subject)) <= 255


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (("tournament", 123, "reward", 5, None, False), "tournament_123_reward_5"),
        (("tournament", 123, "xp", 5, 2, False), "tournament_123_xp_5_r2"),
        (("tournament", 123, "xp", 5, 3, True), "tournament_123_xp_5_r3_reversal"),
        (("tournament", 123, "result", 5, None, False), "tournament_123_result_5"),
        (("session", 789, "attendance_bonus", 3, None, False), "session_789_attendance_bonus_3"),
        (("session", 789, "presence", 3, 2, False), "session_789_presence_3_r2"),
        (("command", "promote", "level", 3, None, False), "command_promote_level_3"),
        (("transfer", (5, "k"), "credit", 6, None, False), "transfer_5-k_credit_6"),
        (("enrollment", 456, "refund", 7, None, False), "enrollment_456_refund_7"),
    ],
)
def test_a_key_says_source_operation_and_user(subject: tuple[Any, ...], expected: str) -> None:
    assert key(subject) == expected


def test_an_adjustment_says_its_run_and_no_correction_is_taken_for_one() -> None:
    base = make_key("tournament", 123, "result", 5)
    adjusted = make_key("tournament", 123, "result", 5, revision=2, run="5b0c2d9e")
    assert adjusted == "tournament_123_result_5_a5b0c2d9e"
    assert adjusting_run(adjusted, base) == "5b0c2d9e"
    assert adjusting_run(make_key("tournament", 123, "result", 5, revision=2), base) is None
    assert adjusting_run(base, None) is None
