"""Levels, moved at once and by several at the same time, as the database ends up."""

import threading
from contextlib import closing

import pytest

from schemas.errors import MustStop
from schemas.rewards import Grant, Refused
from tests.coupling.stand import Stand

TEARS = """
CREATE FUNCTION tear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'torn'; END $$;
CREATE TRIGGER tears BEFORE INSERT ON license_progressions FOR EACH ROW EXECUTE FUNCTION tear();
"""
"""Fails a command when progress and license are written already, and only their progression is missing."""


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_that_level_the_same_user_lose_no_step(stand: Stand, threads: int) -> None:
    start = threading.Barrier(threads)
    ledgers = [stand.open_ledger() for _ in range(threads)]

    def level_up(number: int) -> None:
        with closing(ledgers[number]) as ledger:
            start.wait()
            for step in range(3):
                assert isinstance(stand.command(1, f"up-{number}-{step}", ledger, xp_change=500), Grant)

    running = [threading.Thread(target=level_up, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    total = 500 * 3 * threads
    assert stand.run("SELECT total_xp FROM specialization_progress") == [(total,)]
    assert stand.run("SELECT xp_balance FROM users") == [(total,)]
    level = {2: 4, 8: 7}[threads]
    assert stand.levels(1) == (level, level)
    steps = stand.progressions(1)
    assert [to for _, to in steps] == list(range(2, level + 1)), "every level is passed once, in order"
    assert [before for before, _ in steps] == list(range(1, level))
    assert stand.desyncs() == []


def test_a_rollback_in_the_middle_changes_nothing(stand: Stand) -> None:
    stand.command(1, "first", new_level=2)
    before = stand.levels(1), stand.progressions(1), stand.run("SELECT count(*) FROM reward_receipts")
    stand.run(TEARS)
    with pytest.raises(MustStop, match="torn"):
        stand.command(1, "second", new_level=5, xp_change=700)
    after = stand.levels(1), stand.progressions(1), stand.run("SELECT count(*) FROM reward_receipts")
    assert after == before
    stand.run("DROP FUNCTION tear() CASCADE")
    assert isinstance(stand.command(1, "second", new_level=5, xp_change=700), Grant), "it can be given again"
    assert stand.levels(1) == (5, 5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"new_level": 999}, "invalid_level"),
        ({"new_level": 0}, "invalid_level"),
        ({"specialization": "INTERNSHIP", "new_level": 4}, "invalid_level"),
        ({"xp_change": -1}, "negative_total"),
        ({"theory_hours_change": -3}, "negative_total"),
        ({"new_level": 2, "sessions_change": -1}, "negative_total"),
        ({}, "empty_command"),
    ],
)
def test_what_cannot_be_obeyed_changes_nothing(stand: Stand, changes: dict[str, object], reason: str) -> None:
    decision = stand.command(1, "wrong", **changes)
    assert isinstance(decision, Refused)
    assert decision.reason == reason
    assert stand.run("SELECT count(*) FROM users") == [(0,)]
    assert stand.run("SELECT count(*) FROM specialization_progress") == [(0,)]


def test_a_coachs_hours_are_counted_and_taken_back(stand: Stand) -> None:
    stand.command(1, "a", specialization="COACH", theory_hours_change=40, practice_hours_change=25, sessions_change=3)
    stand.command(1, "b", specialization="COACH", theory_hours_change=-15, practice_hours_change=-25, new_level=3)
    hours = "SELECT specialization_id, completed_sessions, theory_hours_completed, practice_hours_completed"
    assert stand.run(f"{hours} FROM specialization_progress") == [("COACH", 3, 25, 0)]
    assert stand.levels(1, "COACH") == (3, 3)
    refused = stand.command(1, "c", specialization="COACH", practice_hours_change=-1)
    assert isinstance(refused, Refused)
    assert stand.run(f"{hours} FROM specialization_progress") == [("COACH", 3, 25, 0)]


def test_the_reason_and_who_gave_it_are_on_the_progression(stand: Stand) -> None:
    stand.command(1, "a", new_level=3, advanced_by=77, reason="exam passed")
    rows = stand.run("SELECT from_level, to_level, advanced_by, advancement_reason FROM license_progressions")
    assert rows == [(1, 3, 77, "exam passed")]
