"""Every invariant finds what breaks it, is silent where it holds, and its alert resolves once it holds again."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from msgspec import structs

from bench.plants import PLANTS, Where
from schemas.events import TournamentRoster
from streams.reconciliation import ALL, PositionsSeen, sweep
from tests.reconciliation.conftest import record
from tests.reconciliation.season import AT, GRACE, USERS, check, firing, result, run


def test_a_season_with_all_that_happens_in_one_is_silent_and_its_tournament_distributed(season: str) -> None:
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    check(season, *USERS)
    assert swept.violations == []
    assert swept.users == len(USERS)
    assert firing(season) == []
    assert run(season, "SELECT tournament_status FROM semesters WHERE id = 227") == [("REWARDS_DISTRIBUTED",)]


WHERE = Where(user=5, other=7, number=999)
TOUCHED = sorted(set(PLANTS) - {"INV-R09"})
"""What the touch of a user tells. That a position went back is seen by whoever looked at it before."""


@pytest.mark.parametrize("kind", TOUCHED)
def test_a_planted_violation_is_found_by_the_touch_and_resolves_once_it_is_mended(season: str, kind: str) -> None:
    plant = PLANTS[kind]
    run(season, plant.broken % WHERE.parameters())
    check(season, WHERE.user, WHERE.other)
    assert firing(season) == sorted(plant.due(kind, WHERE))
    run(season, plant.mended % WHERE.parameters())
    check(season, WHERE.user, WHERE.other)
    assert firing(season) == []


@pytest.mark.parametrize("kind", TOUCHED)
def test_a_sweep_finds_it_and_resolves_it(season: str, kind: str) -> None:
    plant = PLANTS[kind]
    run(season, plant.broken % WHERE.parameters())
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    assert sorted((seen.kind, seen.subject) for seen in swept.violations) == sorted(plant.due(kind, WHERE))
    run(season, plant.mended % WHERE.parameters())
    sweep(lambda: psycopg2.connect(season), GRACE)
    assert firing(season) == []


@pytest.mark.parametrize(
    ("planted", "found", "severity"),
    [
        (
            "finalized_at = now() - interval '25 hours', participants = 4, user_ids = '{5,6,7,8}'",
            "missing: users 8",
            "warning",
        ),
        (
            "finalized_at = now() - interval '73 hours', participants = 4, user_ids = '{5,6,7,8}'",
            "missing: users 8",
            "critical",
        ),
        ("finalized_at = now(), participants = 2, user_ids = '{5,6}'", "not on the roster: users 7", "warning"),
        ("finalized_at = now(), participants = 2, user_ids = NULL", "3 results", "warning"),
        ("finalized_at = now(), participants = 4", "a roster of 3 users that says 4", "warning"),
    ],
)
def test_results_that_do_not_match_their_roster_are_told(season: str, planted: str, found: str, severity: str) -> None:
    # A withdrawn result is on no stranger's list: bring the last one back.
    run(season, "UPDATE tournament_participations SET status = 'final'", f"UPDATE tournament_rosters SET {planted}")
    check(season)
    told = run(season, "SELECT annotations ->> 'found', severity FROM reward_alerts WHERE kind = 'INV-R04'")
    assert told == [(found, severity)]
    run(season, "UPDATE tournament_rosters SET participants = 3, user_ids = '{5,6,7}', finalized_at = now()")
    check(season)
    assert firing(season) == []


@pytest.mark.parametrize("listed", ["'{5,6}'", "NULL"])
def test_who_does_not_belong_there_is_mended_by_a_withdrawal(season: str, listed: str) -> None:
    # One of two rosters names users and one only counts them; user 7's result was withdrawn.
    run(season, f"UPDATE tournament_rosters SET participants = 2, user_ids = {listed}, finalized_at = now()")
    check(season)
    assert firing(season) == []
    run(season, "UPDATE tournament_participations SET status = 'final' WHERE user_id = 7")
    check(season)
    assert firing(season) == [("INV-R04", "tournament 227")]
    run(season, "UPDATE tournament_participations SET status = 'withdrawn' WHERE user_id = 7")
    check(season)
    assert firing(season) == []


def test_missing_results_are_waited_for(season: str) -> None:
    run(season, "UPDATE tournament_rosters SET finalized_at = now(), participants = 4, user_ids = '{5,6,7,8}'")
    check(season)
    assert firing(season) == []


def test_a_missing_result_is_waited_for_then_told_then_told_as_critical_and_its_tournament_distributed_once(
    season: str,
) -> None:
    def checked() -> tuple[list[tuple[object, ...]], str]:
        check(season, 8)
        alerts = run(season, "SELECT status, severity, count FROM reward_alerts WHERE kind = 'INV-R04'")
        ((status,),) = run(season, "SELECT tournament_status FROM semesters WHERE id = 227")
        return alerts, str(status)

    def age(hours: int) -> None:
        run(season, f"UPDATE tournament_rosters SET finalized_at = now() - interval '{hours} hours'")

    listed = (*USERS, 8)
    roster = TournamentRoster(tournament_id=227, participants=4, user_ids=listed, finalized_at=AT + timedelta(hours=1))
    record(season, roster)
    age(23)
    assert checked() == ([], "COMPLETED")
    age(25)
    assert checked() == checked() == ([("firing", "warning", 1)], "COMPLETED")
    age(73)
    assert checked() == checked() == ([("firing", "critical", 2)], "COMPLETED")
    record(season, result(8, 4))
    mended = ([("resolved", "critical", 2)], "REWARDS_DISTRIBUTED")
    assert checked() == mended
    # What comes later changes what was given, and not that it was given.
    record(season, result(8, 4, revision=2, status="withdrawn"), result(5, 3, revision=3))
    record(season, structs.replace(roster, finalized_at=datetime.now(UTC)))
    assert checked() == mended
    assert sweep(lambda: psycopg2.connect(season), GRACE).distributed == 0
    told = run(season, "SELECT messages FROM outbox WHERE messages LIKE '%INV-R04%' ORDER BY id")
    assert [len(re.findall('"status":"(firing|resolved)"', str(messages))) for (messages,) in told] == [1, 1, 1]


def test_a_position_that_goes_back_is_told(database_url: str) -> None:
    seen = PositionsSeen()
    plant = PLANTS["INV-R09"]
    found = []
    for statement in (plant.prepared, plant.broken, plant.mended):
        assert statement is not None
        run(database_url, statement % WHERE.parameters())
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            seen.check(cursor)
        found.append(firing(database_url))
    assert found == [[], plant.due("INV-R09", WHERE), []]


def test_a_receipt_ahead_of_its_position_is_told_by_a_sweep(season: str) -> None:
    run(
        season,
        "ALTER TABLE reward_receipts DISABLE TRIGGER ALL",
        "UPDATE reward_receipts SET origin = 'event', topic = 't', log_id = 'l', partition = 0, \"offset\" = 9 WHERE seq = 1",
        "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)"
        " VALUES ('g', 't', 0, 'l', 9, 9, 1)",
    )
    swept = sweep(lambda: psycopg2.connect(season), GRACE)
    assert [(seen.kind, seen.subject, seen.expected, seen.found) for seen in swept.violations] == [
        ("INV-R09", "t/0", "a position after offset 9", "9")
    ]


def test_everybody_broken_at_once_makes_one_grouped_alert_on_the_topic(database_url: str) -> None:
    run(database_url, "INSERT INTO users (id, xp_balance) SELECT n, 1 FROM generate_series(1, 1200) AS n")
    sweep(lambda: psycopg2.connect(database_url), GRACE)
    ((alerts, announced),) = run(
        database_url, "SELECT count(*), count(notified_at) FROM reward_alerts WHERE kind = 'INV-R01'"
    )
    assert alerts == 1201
    assert announced == 101


def test_every_invariant_is_planted_somewhere() -> None:
    assert set(PLANTS) == set(ALL)
