"""Two who check at once neither tell what is mended nor take back what is broken, however their steps fall."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

import psycopg2

from schemas.alerts import fingerprint
from streams.reconciliation import PositionsSeen, sweep
from tests.reconciliation.season import GRACE, check, firing, run

PATIENCE_SECONDS = 60
BREAK = "UPDATE users SET xp_balance = xp_balance + 7 WHERE id = 5"
MEND = "UPDATE users SET xp_balance = xp_balance - 7 WHERE id = 5"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_waiting(url: str, count: int, *done: "Future[object]") -> None:
    """Wait until so many sessions wait for a lock, or what runs is done and waited for none."""
    wait_until(lambda: any(one.done() for one in done) or run(url, WAITING) == [(count,)])


def test_what_one_has_found_and_not_told_yet_is_not_passed_over_by_who_sees_it_mended(season: str) -> None:
    run(season, BREAK)
    with ThreadPoolExecutor() as threads, closing(psycopg2.connect(season)) as rival, rival.cursor() as cursor:
        # Who tells of user 5 has to wait for the rival's alert.
        cursor.execute(
            "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)"
            " VALUES (%s, 'INV-R01', 'x', 'critical', 'firing', '{}', '{}')",
            (fingerprint("INV-R01", "user 5"),),
        )
        late = threads.submit(check, season, 5)
        wait_until_waiting(season, 1)
        run(season, MEND)
        mended = threads.submit(check, season, 5)
        wait_until_waiting(season, 2, mended)
        rival.rollback()
        late.result(PATIENCE_SECONDS)
        mended.result(PATIENCE_SECONDS)
    assert run(season, "SELECT kind, subject, status FROM reward_alerts") == [("INV-R01", "user 5", "resolved")]


def test_what_one_has_seen_in_order_is_not_taken_back_once_another_told_that_it_is_broken(season: str) -> None:
    with ThreadPoolExecutor() as threads, closing(psycopg2.connect(season)) as rival, rival.cursor() as cursor:
        # Balances are looked at before badges, and badges have to wait for the rival.
        cursor.execute("LOCK TABLE tournament_badges IN ACCESS EXCLUSIVE MODE")
        late = threads.submit(check, season, 5)
        wait_until_waiting(season, 1)
        run(season, BREAK)
        sweep(lambda: psycopg2.connect(season), GRACE, wanted=["INV-R01"])
        rival.rollback()
        late.result(PATIENCE_SECONDS)
    assert run(season, "SELECT kind, subject, status, flaps FROM reward_alerts") == [("INV-R01", "user 5", "firing", 0)]


POSITION = (
    "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)"
    " VALUES ('g', 't', 0, 'l', 9, 9, 1)"
)


def look(url: str, seen: PositionsSeen) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        seen.check(cursor)
    return firing(url)


def test_who_never_saw_how_far_a_position_was_does_not_say_that_it_is_there_again(database_url: str) -> None:
    move = "UPDATE partition_positions SET next_offset = {}"
    told = [("INV-R09", "t/0 of g")]
    run(database_url, POSITION)
    first, second = PositionsSeen(), PositionsSeen()
    assert look(database_url, first) == []
    run(database_url, move.format(3))
    assert look(database_url, first) == told
    assert look(database_url, second) == told
    run(database_url, move.format(4))
    assert look(database_url, second) == told
    run(database_url, move.format(9))
    assert look(database_url, second) == []
    assert look(database_url, first) == []


def test_a_position_on_another_log_has_nothing_to_catch_up_with(database_url: str) -> None:
    run(database_url, POSITION)
    seen = PositionsSeen()
    look(database_url, seen)
    run(database_url, "UPDATE partition_positions SET next_offset = 3")
    assert look(database_url, seen) == [("INV-R09", "t/0 of g")]
    run(database_url, "UPDATE partition_positions SET next_offset = 0, log_id = 'another'")
    assert look(database_url, seen) == []


AHEAD = (
    POSITION,
    "ALTER TABLE reward_receipts DISABLE TRIGGER ALL",
    "UPDATE reward_receipts SET origin = 'event', topic = 't', log_id = 'l', partition = 0, \"offset\" = 9 WHERE seq = 1",
)


def test_a_position_that_is_mended_while_a_sweep_is_under_way_is_not_told(season: str) -> None:
    run(season, *AHEAD)
    mend = "UPDATE partition_positions SET next_offset = 10"
    swept = sweep(lambda: psycopg2.connect(season), GRACE, progressed=lambda _users, _of: run(season, mend))
    assert swept.violations == []
    assert firing(season) == []


def test_a_sweep_that_goes_on_takes_back_nothing_about_receipts_it_did_not_see(season: str) -> None:
    run(season, *AHEAD)

    def stop(_users: int, _of: int) -> None:
        raise InterruptedError

    told = [("INV-R09", "t/0")]
    sweep(lambda: psycopg2.connect(season), GRACE)
    assert firing(season) == told
    with suppress(InterruptedError):
        sweep(lambda: psycopg2.connect(season), GRACE, progressed=stop)
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    assert (swept.after > 0, swept.violations, firing(season)) == (True, [], told)
    run(season, "UPDATE partition_positions SET next_offset = 10")
    sweep(lambda: psycopg2.connect(season), GRACE)
    assert firing(season) == []


def test_a_look_repeats_nothing_about_a_tournament_and_a_sweep_does(season: str) -> None:
    run(season, "UPDATE tournament_rosters SET participants = 4, finalized_at = now()")
    check(season)
    check(season)
    counted = "SELECT kind, count FROM reward_alerts WHERE status = 'firing'"
    assert run(season, counted) == [("INV-R04", 1)]
    sweep(lambda: psycopg2.connect(season), GRACE)
    assert run(season, counted) == [("INV-R04", 2)]
