"""`laurels reconcile --follow` on real topics: told once, whoever is killed, and nothing that is not so."""

import json
import signal
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest

from schemas.alerts import fingerprint
from sinks.alerts import STORM_LIMIT, STORM_SUBJECT
from tests.reconciliation.following import FOLLOW, Followed
from tests.streams.stage import once_each, presences

MakeFollowed = Callable[[int], Followed]

USERS = range(1, 9)
# What workers tell of themselves when the machine has no time for them is another matter.
ALERTS = "SELECT kind, subject, status, severity, count FROM reward_alerts WHERE kind !~ '^OPS'"
BREAK = "UPDATE users SET xp_balance = xp_balance + 7 WHERE id = ANY (%s)"
MEND = "UPDATE users SET xp_balance = xp_balance - 7 WHERE id = ANY (%s)"


@pytest.fixture
def followed(make_followed: MakeFollowed) -> Followed:
    return make_followed(1)


def test_what_plain_sql_breaks_is_told_and_resolves_once_it_is_mended(followed: Followed) -> None:
    followed.recording()
    followed.following()
    followed.publish(presences(USERS, range(1, 13)))
    followed.wait_until_read()
    followed.query(BREAK, [5])
    followed.wait_until(lambda: followed.told_of("INV-R01", "user 5") == ["firing"])
    ((*fired, count),) = followed.query(ALERTS)
    assert (fired, count >= 1) == (["INV-R01", "user 5", "firing", "critical"], True)
    followed.query(MEND, [5])
    followed.wait_until(lambda: followed.told_of("INV-R01", "user 5") == ["firing", "resolved"])
    assert [status for _, _, status, *_ in followed.query(ALERTS)] == ["resolved"]
    (told, _) = followed.told()
    assert told.alert.annotations["explain"] == "laurels explain user 5"


def test_a_follower_looks_at_publishers_too_and_a_worker_at_the_seals(followed: Followed) -> None:
    followed.recording()
    followed.following()
    outcomes = "SELECT task, outcome FROM scheduled_runs WHERE finished_at IS NOT NULL"
    done = {"partitioning": {"wrong": []}, "verify-chain": {"seals": 0, "rows": 0, "broken": 0}}
    followed.wait_until(lambda: done.items() <= dict(followed.query(outcomes)).items())


def test_what_the_topics_say_and_the_tables_do_not_is_an_alert_too(followed: Followed) -> None:
    followed.recording()
    followed.publish(presences(USERS, [1]))
    followed.wait_until_read()

    def reconcile() -> tuple[int, list[str]]:
        command = (*FOLLOW[:-1], "--full", "--json")
        looked = followed.worker(command=command)
        code = looked.ended()
        return code, [difference["table"] for difference in json.loads(looked.said)["differences"]]

    fires = "SELECT kind, subject FROM reward_alerts WHERE status = 'firing' AND kind !~ '^OPS'"
    assert reconcile() == (0, [])
    # No entry and no balance: only the topic says that it should be there.
    followed.query("UPDATE session_attendances SET minutes = 7 WHERE user_id = 5")
    assert reconcile() == (1, ["session_attendances"])
    assert followed.query(fires) == [("INV-R09", "the topics")]
    followed.query("UPDATE session_attendances SET minutes = 0 WHERE user_id = 5")
    assert reconcile() == (0, [])
    assert followed.query(fires) == []


@pytest.mark.parametrize(("step", "raised"), [("check_before_commit", 1), ("check_after_commit", 2)])
def test_killed_at_any_step_of_a_check_it_tells_once(followed: Followed, step: str, raised: int) -> None:
    followed.recording()
    first = followed.following()
    followed.publish(presences(USERS, range(1, 3)))
    followed.wait_until_read()
    followed.wait_until_it_follows()
    first.stop()
    (swept,) = followed.query("SELECT started_at FROM scheduled_runs WHERE task = 'sweep'")
    followed.query(BREAK, [5])
    assert followed.following(failpoint=step).ended() == -signal.SIGKILL
    followed.following()
    followed.wait_until_it_follows()
    followed.wait_until(followed.told)
    assert followed.told_in_all() == {("INV-R01", "user 5", "firing"): 1}
    # The message was read again, as often as partitions moved after the kill: that is what told, and no sweep.
    ((*alert, seen),) = followed.query(ALERTS)
    assert alert == ["INV-R01", "user 5", "firing", "critical"]
    assert seen >= raised
    assert followed.query("SELECT started_at FROM scheduled_runs WHERE task = 'sweep'") == [swept]


def test_what_changes_while_no_follower_runs_is_told_when_one_comes_back(followed: Followed) -> None:
    followed.recording()
    first = followed.following()
    followed.publish(presences(USERS, [1]))
    followed.wait_until_read()
    followed.query(BREAK, [5])
    followed.wait_until(lambda: followed.told_of("INV-R01", "user 5") == ["firing"])
    first.kill()
    followed.query(MEND, [5])
    followed.query(BREAK, [6])
    followed.following()
    told = {
        ("INV-R01", "user 5", "firing"): 1,
        ("INV-R01", "user 5", "resolved"): 1,
        ("INV-R01", "user 6", "firing"): 1,
    }
    followed.wait_until(lambda: len(followed.told()) >= len(told))
    followed.wait_until_it_follows()
    assert followed.told_in_all() == told


def test_beside_workers_that_are_killed_nothing_is_told_that_is_not_so(make_followed: MakeFollowed) -> None:
    stage = make_followed(2)
    stage.following(sweep_interval_seconds=1)
    events = presences(range(1, 41), range(1, 26))
    worker = stage.recording(batch_events=20)
    for start in range(0, len(events), 250):
        stage.publish(events[start : start + 250])
        stage.publish(events[start : start + 50])
        recorded = sum(stage.sessions_recorded().values())
        stage.wait_until(lambda before=recorded: sum(stage.sessions_recorded().values()) > before)  # type: ignore[misc]
        worker.kill()
        worker = stage.recording(batch_events=20)
    stage.publish([event | {"revision": 2, "status": "late"} for event in events[::7]])
    stage.wait_until_read()
    stage.wait_until_it_follows()
    assert stage.sessions_recorded() == once_each(events)
    assert stage.query(ALERTS) == []
    assert stage.told_in_all() == {}


def test_two_followers_share_the_users_and_tell_each_alert_once(make_followed: MakeFollowed) -> None:
    stage = make_followed(2)
    stage.recording()
    first, second = stage.following(), stage.following()
    stage.publish(presences(USERS, [1]))
    stage.wait_until_read()
    stage.wait_until_it_follows()
    # One statement for each, so that each is announced by a message of their own, on their own partition.
    for user in USERS:
        stage.query(BREAK, [user])
    stage.wait_until(lambda: len(stage.told()) >= len(USERS))
    stage.wait_until_it_follows()
    once = {("INV-R01", f"user {user}", "firing"): 1 for user in USERS}
    assert stage.told_in_all() == once
    first.kill()
    for user in USERS:
        stage.query(MEND, [user])
    stage.wait_until(lambda: len(stage.told()) >= 2 * len(USERS))
    stage.wait_until_it_follows()
    assert stage.told_in_all() == once | {("INV-R01", f"user {user}", "resolved"): 1 for user in USERS}
    assert second.runs


TOUCHED = 100_000
BROKEN = TOUCHED // 10


def test_a_statement_that_touches_a_hundred_thousand_users_makes_few_messages_though_the_sweep_is_killed(
    followed: Followed,
) -> None:
    followed.query("INSERT INTO users (id) SELECT n FROM generate_series(1001, 1000 + %s) AS n", TOUCHED)
    followed.recording()
    first = followed.following(sweep_interval_seconds=1)
    followed.publish(presences(USERS, [1]))
    followed.wait_until_read()
    followed.wait_until_it_follows()
    announced = followed.announced()
    with closing(psycopg2.connect(followed.database_url)) as rival, rival.cursor() as cursor:
        # A sweep gets as far as this user's alert.
        cursor.execute(
            "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)"
            " VALUES (%s, 'INV-R01', 'x', 'critical', 'firing', '{}', '{}')",
            (fingerprint("INV-R01", f"user {TOUCHED // 2}"),),
        )
        followed.query("UPDATE users SET xp_balance = 1, opening_xp = least(id %% 10, 1) WHERE id > 1000")
        followed.wait_until(lambda: followed.query("SELECT 1 FROM reward_alerts LIMIT 1"))
        first.kill()
    followed.following(sweep_interval_seconds=1)
    fires = "SELECT count(*) FROM reward_alerts WHERE kind = 'INV-R01' AND status = 'firing' AND subject LIKE 'user %%'"
    followed.wait_until(lambda: followed.query(fires) == [(BROKEN,)])
    followed.wait_until_it_follows()
    assert followed.announced() == announced + 1
    told = followed.told_in_all()
    assert len(told) == STORM_LIMIT + 1
    assert told["INV-R01", STORM_SUBJECT, "firing"] == 1
    followed.query("UPDATE users SET opening_xp = 1 WHERE id > 1000")
    followed.wait_until(lambda: len(followed.told_in_all()) == 2 * (STORM_LIMIT + 1))
    assert set(followed.told_in_all().values()) == {1}
    assert followed.query(fires) == [(0,)]
