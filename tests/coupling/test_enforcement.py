"""What `enforce` refuses at commit, by anyone, and what it lets through."""

import threading
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, DeadlockDetected
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from schemas.rewards import Grant
from sinks.coupling import enforcement
from sinks.coupling.enforcement import Apart, NotSwitched
from sinks.coupling.plans import Scope
from sinks.migration import migrate_to, migrate_to_head
from sinks.roles import WORKER
from tests.coupling.stand import LICENSE, PROGRESS, Stand

REFUSED = {
    "progress alone moved": "UPDATE specialization_progress SET current_level = 3",
    "license alone moved": "UPDATE user_licenses SET current_level = 1",
    "progress removed": "DELETE FROM specialization_progress",
    "license removed": "DELETE FROM user_licenses",
    "license without progress": LICENSE + "VALUES (1, 'COACH', 1, 1)",
    "progress without license": PROGRESS + "VALUES (1, 'COACH', 1, 0)",
    "progress given to another": "UPDATE specialization_progress SET student_id = 2",
    "license moved elsewhere": "UPDATE user_licenses SET specialization_type = 'COACH'",
    "both moved apart": "UPDATE specialization_progress SET current_level = 3; UPDATE user_licenses SET current_level = 4",
    "as a replica": "SET session_replication_role = replica; UPDATE user_licenses SET current_level = 1",
    "as the ledger": "SET laurels.recording = 'on'; UPDATE user_licenses SET current_level = 1",
    "emptied": "TRUNCATE specialization_progress",
    "made again under the same id": "WITH gone AS (DELETE FROM user_licenses RETURNING id) "
    "INSERT INTO user_licenses (id, user_id, specialization_type) SELECT id, 2, 'PLAYER' FROM gone",
    "renumbered and moved": "UPDATE user_licenses SET id = id + 1000, current_level = 3, max_achieved_level = 3",
    "by an upsert": PROGRESS + "VALUES (1, 'PLAYER', 2, 0) "
    "ON CONFLICT (student_id, specialization_id) DO UPDATE SET current_level = 3",
    "together, and apart after a savepoint": "UPDATE specialization_progress SET current_level = 3; SAVEPOINT s; "
    "UPDATE user_licenses SET current_level = 3; ROLLBACK TO SAVEPOINT s",
    "what was to be checked forgotten": "UPDATE user_licenses SET current_level = 1; DELETE FROM coupling_checks",
    "as an older snapshot has it": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; "
    "UPDATE user_licenses SET current_level = 1",
}

LET_THROUGH = {
    "both moved together": "UPDATE specialization_progress SET current_level = 3, level_adjustment = 2;"
    " UPDATE user_licenses SET current_level = 3, max_achieved_level = 3",
    "license first": "UPDATE user_licenses SET current_level = 3, max_achieved_level = 3;"
    " UPDATE specialization_progress SET current_level = 3",
    "moved and moved back": "UPDATE user_licenses SET current_level = 3; UPDATE user_licenses SET current_level = 2",
    "both made": PROGRESS + "VALUES (1, 'COACH', 1, 0); " + LICENSE + "VALUES (1, 'COACH', 1, 1)",
    "both removed": "DELETE FROM specialization_progress; DELETE FROM user_licenses",
    "both moved by one statement": "WITH moved AS (UPDATE user_licenses SET current_level = 3, max_achieved_level = 3) "
    "UPDATE specialization_progress SET current_level = 3",
    "both moved in a snapshot": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; "
    "UPDATE specialization_progress SET current_level = 1; UPDATE user_licenses SET current_level = 1",
    "both given to another": "UPDATE specialization_progress SET student_id = 2; UPDATE user_licenses SET user_id = 2",
    "renumbered": "UPDATE specialization_progress SET id = id + 1000",
    "no level touched": "UPDATE specialization_progress SET total_xp = 499; UPDATE user_licenses SET football_skills = '{}'",
}


def enforce(stand: Stand) -> None:
    with closing(stand.connect()) as connection:
        enforcement.enforce(connection, actor="otto")


def observe(stand: Stand) -> None:
    with closing(stand.connect()) as connection:
        enforcement.observe(connection, actor="otto")


def mode(stand: Stand) -> str:
    with closing(stand.connect()) as connection, connection.cursor() as cursor:
        return enforcement.fetch_mode(cursor)


@pytest.fixture
def enforced(stand: Stand) -> Stand:
    """User 1 at level 2, user 2 with nothing, and enforced."""
    stand.part(1, "PLAYER", 2, 2)
    stand.run("INSERT INTO users (id) VALUES (2)")
    enforce(stand)
    return stand


def test_plain_sql_that_parts_the_two_is_refused_at_commit(enforced: Stand) -> None:
    for what, statement in REFUSED.items():
        with pytest.raises(CheckViolation) as refused:
            enforced.run(statement)
        assert refused.value.diag.constraint_name == "ck_coupling", what
        assert enforced.levels(1) == (2, 2), what
    assert enforced.desyncs() == []


@pytest.mark.parametrize("what", LET_THROUGH)
def test_what_leaves_the_two_together_passes(enforced: Stand, what: str) -> None:
    enforced.run(LET_THROUGH[what])
    assert enforced.desyncs() == []


def test_an_older_snapshot_does_not_hide_that_the_other_side_is_gone(enforced: Stand) -> None:
    with closing(psycopg2.connect(enforced.url)) as connection, connection.cursor() as cursor:
        connection.set_isolation_level(ISOLATION_LEVEL_REPEATABLE_READ)
        cursor.execute("SELECT count(*) FROM user_licenses")
        enforced.run(LET_THROUGH["both removed"])
        cursor.execute(PROGRESS + "VALUES (1, 'PLAYER', 2, 1)")
        with pytest.raises(psycopg2.Error) as refused:
            connection.commit()
        assert refused.value.pgcode in {"40001", "23514"}
    assert enforced.desyncs() == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("UPDATE specialization_progress SET current_level = 3", "UPDATE user_licenses SET current_level = 3"),
        ("DELETE FROM specialization_progress", "DELETE FROM user_licenses"),
        (PROGRESS + "VALUES (2, 'COACH', 1, 0)", LICENSE + "VALUES (2, 'COACH', 1, 1)"),
        (LET_THROUGH["both removed"], "UPDATE user_licenses SET football_skills = '{}', current_level = 3"),
    ],
)
def test_two_at_the_same_time_cannot_do_it_between_them(enforced: Stand, one: str, other: str) -> None:
    wrote = threading.Barrier(2)

    def write(statement: str) -> None:
        with closing(psycopg2.connect(enforced.url)) as connection, connection.cursor() as cursor:
            try:
                if statement == one:
                    cursor.execute(statement)
                    wrote.wait(60)
                else:
                    wrote.wait(60)
                    cursor.execute(statement)
                connection.commit()
            except (CheckViolation, DeadlockDetected):
                connection.rollback()

    threads = [threading.Thread(target=write, args=(statement,)) for statement in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert enforced.desyncs() == []


def test_the_ledger_levels_creates_and_syncs_as_ever(enforced: Stand) -> None:
    assert isinstance(enforced.command(1, "a", new_level=5), Grant)
    assert isinstance(enforced.command(3, "b", specialization="COACH", xp_change=2500), Grant)
    assert isinstance(enforced.command(3, "c", specialization="COACH", xp_change=-2500), Grant)
    assert enforced.levels(1) == (5, 5)
    assert enforced.progressions(3) == [(1, 3), (3, 1)]
    assert enforced.sync(Scope()) == []


def test_it_is_refused_while_there_are_desyncs_and_granted_after_a_sync(stand: Stand) -> None:
    stand.part(1, "PLAYER", 2, 3)
    with pytest.raises(Apart, match="1 level_mismatch"):
        enforce(stand)
    assert mode(stand) == "observe"
    stand.sync(Scope())
    enforce(stand)
    assert mode(stand) == "enforce"
    observe(stand)
    assert mode(stand) == "observe"
    stand.run("UPDATE user_licenses SET current_level = 4")
    assert len(stand.desyncs()) == 1
    actions = stand.run("SELECT actor, action FROM audit_log WHERE action LIKE 'coupling%' ORDER BY id")
    assert actions == [("otto", "coupling.enforce"), ("otto", "coupling.observe")]


@pytest.mark.parametrize(
    ("table", "trigger"),
    [("user_licenses", "coupled_user_licenses_update"), ("coupling_checks", "coupled_at_commit")],
)
def test_triggers_switched_by_hand_show(stand: Stand, table: str, trigger: str) -> None:
    enforce(stand)
    stand.run(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    assert mode(stand) == "partly"


def test_what_is_to_be_checked_is_never_seen_nor_kept(enforced: Stand) -> None:
    enforced.command(1, "a", new_level=5)
    with closing(psycopg2.connect(enforced.url)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE user_licenses SET current_level = 3")
        cursor.execute("SELECT count(*) FROM coupling_checks")
        assert cursor.fetchone() == (0,)
    assert enforced.run("SELECT count(*) FROM coupling_checks") == [(0,)]


@pytest.mark.parametrize("switch", [enforce, observe])
def test_migrating_leaves_the_switch_where_it_is(stand: Stand, switch: Callable[[Stand], None]) -> None:
    stand.part(1, "PLAYER", 2, 2)
    switch(stand)
    before = mode(stand)
    migrate_to(stand.url, "0028")
    if switch is enforce:
        with pytest.raises(CheckViolation):
            stand.run("UPDATE user_licenses SET current_level = 3")
    migrate_to_head(stand.url)
    assert mode(stand) == before


def test_a_worker_may_not_switch_it(stand: Stand) -> None:
    with closing(stand.connect()) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {WORKER}")
        with pytest.raises(NotSwitched, match="owner"):
            enforcement.enforce(connection, actor="otto")
    assert mode(stand) == "observe"


def test_a_writer_in_the_middle_is_waited_for_and_seen(stand: Stand) -> None:
    stand.part(1, "PLAYER", 2, 2)
    with closing(psycopg2.connect(stand.url)) as writer, writer.cursor() as cursor:
        cursor.execute("UPDATE user_licenses SET current_level = 3")
        with closing(stand.connect()) as connection, pytest.MonkeyPatch.context() as patch:
            patch.setattr(enforcement, "LOCK_TIMEOUT", "100ms")
            with pytest.raises(NotSwitched, match="nothing was changed"):
                enforcement.enforce(connection, actor="otto")
        writer.commit()
    with pytest.raises(Apart):
        enforce(stand)
