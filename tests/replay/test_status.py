"""`laurels replay status`: what can go on is never out of sight, and what is over does not fill the screen."""

from contextlib import closing

import psycopg2
import pytest

from sinks.replay_runs import take_over
from tests.replay.rows import Laurels

LATEST = 20

MAKE = """
INSERT INTO replay_runs (id, status, request, requested_by, created_at)
VALUES (%s, %s, '{"parts": []}', 'ann', '2026-01-01T00:00:00Z'::timestamptz + %s * interval '1 minute')
"""

OLD = ["running", "paused", "failed", "done", "cancelled", "planned"]


@pytest.fixture(autouse=True)
def _runs(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old run of each kind, and as many plans since as are shown, with one more."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    kinds = OLD + ["planned"] * (LATEST + 1)
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.executemany(MAKE, [(f"{minute:08x}", status, minute) for minute, status in enumerate(kinds)])


def listed(laurels: Laurels, *options: str) -> list[str]:
    return [row["id"] for row in laurels("replay", "status", *options)["replays"]]


def test_what_can_be_resumed_is_shown_however_old_and_of_the_rest_the_latest(laurels: Laurels) -> None:
    latest = [f"{minute:08x}" for minute in range(len(OLD) + LATEST, len(OLD), -1)]
    resumable = ["00000002", "00000001", "00000000"]
    assert listed(laurels) == latest + resumable


def test_all_of_them_are_shown_to_whoever_asks(laurels: Laurels) -> None:
    assert listed(laurels, "--all") == [f"{minute:08x}" for minute in range(len(OLD) + LATEST, -1, -1)]


def test_of_those_that_say_they_run_only_the_one_that_some_session_runs_is_shown_as_running(
    laurels: Laurels, database_url: str
) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE replay_runs SET status = 'running' WHERE id = '00000010'")
        connection.commit()
        assert take_over(cursor, "00000010")
        shown = {row["id"]: row["status"] for row in laurels("replay", "status")["replays"]}
        (alone,) = laurels("replay", "status", "00000010")["replays"]
    assert (shown["00000010"], shown["00000000"], alone["status"]) == ("running", "interrupted", "running")
