"""The figures behind the charts, and where the charts put them."""

from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from api.console.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_lines, draw_pace, span_of
from sinks import course, pace
from sinks.course import Series, Step, fetch_course
from sinks.pace import BARS, Pace, fetch_pace

BEGAN = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def cursor(database_url: str) -> Cursor:
    with psycopg2.connect(database_url) as connection, connection.cursor() as opened:
        yield opened
    connection.close()


def give(cursor: Cursor, *amounts: int) -> None:
    """XP for user 5, a day apart, the last first."""
    for number, amount in reversed(list(enumerate(amounts))):
        cursor.execute(
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, idempotency_key, created_at)"
            " VALUES (5, 'ADJUSTMENT', %s, %s, %s)",
            (amount, f"k{number}", BEGAN + timedelta(days=number)),
        )


def recorded(cursor: Cursor, *seconds_ago: float) -> None:
    """Receipts, numbered by the ledger's own sequence, that came so long ago."""
    for ago in seconds_ago:
        cursor.execute(
            'INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, "grant", occurred_at,'
            " recorded_at) SELECT 'k' || n, n, 5, 1, 'event', 'x', '{}', now(), now() - %s * interval '1 second'"
            " FROM nextval('reward_receipts_seq') AS n",
            (ago,),
        )


def test_xp_rises_from_the_opening_balance_to_what_the_entries_sum_to(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO users (id, xp_balance, opening_xp) VALUES (5, 175, 100)")
    give(cursor, 50, -25, 50)
    found = fetch_course(cursor, 5)
    assert found is not None
    assert found.xp.first == 100
    assert [(step.at, step.value) for step in found.xp.steps] == [
        (BEGAN + timedelta(days=day), value) for day, value in enumerate((150, 125, 175))
    ]
    assert found.levels == {}


def test_of_many_entries_so_many_are_shown_as_fit_and_always_the_last(
    cursor: Cursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "POINTS", 4)
    cursor.execute("INSERT INTO users (id) VALUES (5)")
    give(cursor, *range(1, 12))
    found = fetch_course(cursor, 5)
    assert found is not None
    assert [step.value for step in found.xp.steps] == [1, 6, 15, 28, 45, 66]


def test_levels_are_shown_in_the_order_they_were_given_and_end_at_the_one_that_stands(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO users (id) VALUES (5)")
    cursor.execute(
        "INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level)"
        " VALUES (5, 'PLAYER', 2, 3), (5, 'COACH', 4, 4) RETURNING id"
    )
    ((player,), _) = cursor.fetchall()
    for before, after, day in ((1, 3, 7), (3, 2, 5)):
        cursor.execute(
            "INSERT INTO license_progressions (user_license_id, from_level, to_level, advanced_at) VALUES (%s, %s, %s, %s)",
            (player, before, after, BEGAN + timedelta(days=day)),
        )
    found = fetch_course(cursor, 5)
    assert found is not None
    late = BEGAN + timedelta(days=7)
    assert found.levels == {"COACH": Series(4, []), "PLAYER": Series(1, [Step(late, 3), Step(late, 2)])}
    assert {name: series.last for name, series in found.levels.items()} == {"COACH": 4, "PLAYER": 2}


def test_nobody_has_no_course(cursor: Cursor) -> None:
    assert fetch_course(cursor, 404) is None


def test_what_was_recorded_lately_is_counted_where_it_belongs(cursor: Cursor) -> None:
    recorded(cursor, 3_600, 899, 45, 45, 0)
    found = fetch_pace(cursor)
    assert found.until - found.since == timedelta(minutes=15)
    assert found.counts == [1, *[0] * (BARS - 3), 2, 1]


def test_where_much_was_recorded_a_shorter_time_is_shown_whole(cursor: Cursor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST_RECEIPTS", 3)
    recorded(cursor, 100, 90, 60, 30, 0)
    found = fetch_pace(cursor)
    assert found.until - found.since == timedelta(minutes=1)
    assert (sum(found.counts), found.counts[0], found.counts[15], found.counts[-1]) == (3, 1, 1, 1)


def test_of_an_empty_ledger_there_is_nothing_to_count(cursor: Cursor) -> None:
    assert sum(fetch_pace(cursor).counts) == 0


def test_a_line_begins_left_ends_right_and_as_high_as_it_has_come_to() -> None:
    xp = Series(0, [Step(BEGAN, 30), Step(BEGAN + timedelta(days=40), 100)])
    span = span_of(xp)
    assert span is not None
    drawn = draw_lines({"XP": xp}, span)
    points = [tuple(map(float, point.split(","))) for point in drawn.lines[0].points.split()]
    assert points[0] == (LEFT, HEIGHT - BOTTOM)
    assert points[-1] == (WIDTH - RIGHT, TOP)
    assert drawn.lines[0].last == 100
    assert [mark.label for mark in drawn.up] == ["0", "25", "50", "75", "100"]
    assert [mark.label for mark in drawn.across] == ["2026-04-30", "2026-06-11"]


def test_what_never_changed_has_no_chart_and_one_change_has() -> None:
    assert span_of(Series(1, [])) is None
    one = Series(0, [Step(BEGAN, -7)])
    span = span_of(one)
    assert span is not None
    drawn = draw_lines({"XP": one}, span)
    assert drawn.up[0].label == "-8"
    assert [mark.label for mark in drawn.across] == ["23:59:00", "00:01:00"]


def test_bars_are_as_high_as_events_came_fast() -> None:
    drawn = draw_pace(Pace(BEGAN, BEGAN + timedelta(seconds=60), [0, 40, *[0] * 28]))
    assert [round(bar.height) for bar in drawn.bars[:3]] == [0, HEIGHT - TOP - BOTTOM, 0]
    assert drawn.bars[1].title == "40 from 00:00:02 on, 20.0 a second"
    assert drawn.up[-1].label == "20"
