"""Whoever changes, removes or inserts a row under a seal is found out, and the row is named."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from schemas.events import SESSION_ATTENDANCE
from sinks import chain_check
from sinks.chain import CANONICAL, LEDGER, Progress, Seal, fetch_block, hash_of, seal_ledger
from sinks.chain_check import Broken, check_chain
from sinks.database import connector
from sinks.roles import READONLY, WORKER
from streams import sealing
from streams.schedule import Task, run_if_due
from streams.sealing import chain_task, sealing_task
from tests.history.conftest import Laurels, Past
from tests.oracle.academy_log import presence


def seal(past: Past) -> Progress:
    *_, progress = seal_ledger(connector(past.url, name="test"))
    return progress


def broken(past: Past) -> list[tuple[str, str, int | None]]:
    with closing(psycopg2.connect(past.url)) as connection:
        return [(one.kind, one.table, one.row_id) for one in check_chain(connection) if isinstance(one, Broken)]


def test_all_rows_are_sealed_and_hold(past: Past) -> None:
    rows = sum(past.query(f"SELECT count(*) FROM {one.table}")[0][0] for one in LEDGER)
    assert seal(past) == Progress(seals=len(LEDGER), rows=rows)
    assert seal(past) == Progress()
    past.tell(SESSION_ATTENDANCE, presence(1, 21))
    assert seal(past).rows == 3
    assert broken(past) == []


TAMPERINGS = {
    "a changed amount": ("UPDATE xp_transactions SET amount = 5000 WHERE user_id = 1 AND semester_id = 10", "changed"),
    "a changed word": ("UPDATE license_progressions SET advancement_reason = 'x' WHERE to_level = 4", "changed"),
    "a blanked memo": ("UPDATE credit_transfers SET memo = '' WHERE sender_id = 1", "changed"),
    "a changed source": ("UPDATE reward_receipts SET \"offset\" = 7 WHERE event_key LIKE 'command%'", "changed"),
    "a changed ruleset": ("UPDATE reward_receipts SET ruleset = 'x' WHERE event_key LIKE 'command%'", "changed"),
    "a moved time": ("UPDATE skill_rewards SET recorded_at = recorded_at - interval '1 microsecond'", "changed"),
    "a removed row": (
        "DELETE FROM credit_transactions WHERE transaction_type = 'TRANSFER_OUT' AND user_id = 1",
        "removed",
    ),
    "an inserted row": (
        "INSERT INTO skill_rewards (id, user_id, source_type, source_id, skill_name, points_awarded) VALUES (-5, 1, 'T', 1, 'a', 1)",
        "inserted",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_it_is_found_and_named(past: Past, what: str) -> None:
    statement, kind = TAMPERINGS[what]
    seal(past)
    table = next(one for one in LEDGER if one.table in statement)
    everything = f"SELECT {table.ordered_by}, to_jsonb(t) FROM {table.table} t"
    before = dict(past.query(everything))
    past.tamper_unseen(statement)
    after = dict(past.query(everything))
    (row_id,) = {id_ for id_ in before.keys() | after.keys() if before.get(id_) != after.get(id_)}
    assert broken(past) == [(kind, table.table, row_id)]


def test_a_row_is_not_exchanged_for_another_under_its_number(past: Past) -> None:
    seal(past)
    past.tamper_unseen("UPDATE xp_transactions SET id = id + 1000 WHERE semester_id = 10 AND user_id = 1")
    ((row_id,),) = past.query("SELECT id FROM xp_transactions WHERE id > 1000")
    assert broken(past) == [("removed", "xp_transactions", row_id - 1000)]


@pytest.mark.parametrize(
    ("statement", "numbers"),
    [
        ("DELETE FROM ledger_seals WHERE number = 2", {3}),
        ("UPDATE ledger_seals SET row_count = row_count + 1 WHERE number = 2", {2}),
        ("UPDATE ledger_seals SET previous_hash = hash WHERE number = 3", {3}),
        ("UPDATE ledger_seals SET marks = '' WHERE number = 2", {2}),
    ],
)
def test_the_seals_guard_each_other(past: Past, statement: str, numbers: set[int]) -> None:
    seal(past)
    past.tamper_unseen(statement)
    found = {row_id for kind, table, row_id in broken(past) if (kind, table) == ("seal", "ledger_seals")}
    assert found == numbers


def test_a_seal_made_anew_over_a_changed_row_breaks_the_next_one(past: Past) -> None:
    seal(past)
    past.tamper_unseen("UPDATE credit_transactions SET amount = 5000 WHERE semester_id = 10 AND user_id = 1")
    with closing(psycopg2.connect(past.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(CANONICAL)
        cursor.execute(
            "SELECT number, table_name, first_id, last_id, row_count, rows_hash, marks, previous_hash, sealed_at, hash "
            "FROM ledger_seals WHERE table_name = 'credit_transactions'"
        )
        values: list[Any] = [bytes(value) if isinstance(value, memoryview) else value for value in cursor.fetchone()]
        genuine = Seal(*values)
        forged = genuine._replace(**fetch_block(cursor, LEDGER[1], genuine.first_id, genuine.last_id)._asdict())
    past.tamper_unseen(
        f"UPDATE ledger_seals SET rows_hash = '\\x{forged.rows_hash.hex()}', marks = '\\x{forged.marks.hex()}', "
        f"hash = '\\x{hash_of(forged).hex()}' WHERE number = {forged.number}"
    )
    assert broken(past) == [("seal", "ledger_seals", forged.number + 1)]


def test_a_chain_made_anew_does_not_fit_a_noted_head(past: Past, laurels: Laurels) -> None:
    code, sealed = laurels("ledger", "seal")
    head = f"{sealed['head']['number']}:{sealed['head']['hash']}"
    assert laurels("ledger", "verify-chain", "--anchor", head)[0] == code == 0
    past.tamper_unseen("UPDATE xp_transactions SET amount = 5000 WHERE semester_id = 10", "DELETE FROM ledger_seals")
    seal(past)
    assert laurels("ledger", "verify-chain")[0] == 0
    code, told = laurels("ledger", "verify-chain", "--anchor", head)
    assert (code, [one["kind"] for one in told["broken"]]) == (1, ["anchor"])


def test_triggers_switched_off_are_seen(past: Past) -> None:
    past.query("ALTER TABLE skill_rewards DISABLE TRIGGER append_only_skill_rewards")
    assert broken(past) == [("trigger", "skill_rewards", None)]


def test_what_is_still_being_written_is_waited_for_and_never_stepped_over(past: Past) -> None:
    connect = connector(past.url, name="test")
    insert = "INSERT INTO xp_transactions (user_id, transaction_type, amount, idempotency_key) VALUES (1, 'X', 1, %s)"
    with closing(connect()) as slow, slow.cursor() as cursor:
        cursor.execute(insert, ("slow",))
        past.query(insert, "fast")  # a higher id, committed first
        assert list(seal_ledger(connect, wait_seconds=0)) == [Progress(waits_for=1)]
        with ThreadPoolExecutor(1) as pool:
            sealing = pool.submit(seal, past)
            slow.commit()
            progress = sealing.result()
    assert progress.seals == len(LEDGER)
    assert broken(past) == []
    ((last_id,),) = past.query("SELECT max(last_id) FROM ledger_seals WHERE table_name = 'xp_transactions'")
    assert past.query("SELECT count(*) FROM xp_transactions WHERE id > %s", last_id) == [(0,)]


def test_one_seals_at_a_time(past: Past) -> None:
    connect = connector(past.url, name="test")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: seal(past), range(4)))
    assert sum(one.seals for one in done) >= 1
    seal(past)
    assert broken(past) == []
    with closing(connect()) as other, other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(x'6C6175725345414C'::bigint)")
        assert list(seal_ledger(connect)) == [Progress(busy=True)]


def test_a_worker_seals_and_nobody_undoes_it(past: Past) -> None:
    def as_worker() -> psycopg2.extensions.connection:
        connection = psycopg2.connect(past.url)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {WORKER}")
        return connection

    *_, progress = seal_ledger(as_worker)
    assert progress.seals == len(LEDGER)
    for statement in ("DELETE FROM ledger_seals", "UPDATE ledger_seals SET hash = ''", "TRUNCATE ledger_seals"):
        with pytest.raises(psycopg2.Error) as refused:
            past.query(statement)
        assert refused.value.pgcode == "LR001"
    with closing(psycopg2.connect(past.url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {READONLY}")
        assert not [one for one in check_chain(connection) if isinstance(one, Broken)]


def test_the_command_says_what_and_where(past: Past, laurels: Laurels) -> None:
    seal(past)
    past.tell(SESSION_ATTENDANCE, presence(1, 21))
    past.tamper_unseen("UPDATE skill_rewards SET points_awarded = 99 WHERE skill_name = 'passing' AND source_id = 10")
    code, told = laurels("ledger", "verify-chain", "--limit", "1")
    assert (code, told["seals"], told["broken_total"]) == (1, len(LEDGER), 1)
    assert (told["unsealed"]["reward_receipts"], told["unsealed"]["xp_transactions"]) == (1, 1)
    (one,) = told["broken"]
    assert (one["kind"], one["table"], one["seal"]) == ("changed", "skill_rewards", 3)


def test_an_adopted_receipt_that_remembers_its_payload_is_no_tampering(past: Past) -> None:
    past.query(
        'INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, "grant", occurred_at) '
        "VALUES ('session_9_presence_1', nextval('reward_receipts_seq'), 1, 1, 'adopted', '{}', now())"
    )
    seal(past)
    past.query("UPDATE reward_receipts SET payload_hash = 'x' WHERE origin = 'adopted'")
    assert broken(past) == []


@pytest.mark.parametrize("anchor", ["x", "1", "1:zz", ":"])
def test_an_anchor_that_is_none_is_refused(laurels: Laurels, anchor: str) -> None:
    assert laurels("ledger", "verify-chain", "--anchor", anchor)[0] == 2


def test_workers_seal_on_a_schedule_and_tell_the_head(past: Past) -> None:
    connect = connector(past.url, name="test")
    task = sealing_task(connect, every_seconds=60)
    assert run_if_due(connect, task, owner="a")
    assert not run_if_due(connect, task, owner="b")
    ((outcome,),) = past.query("SELECT outcome FROM scheduled_runs WHERE task = 'seal'")
    ((number, digest),) = past.query("SELECT number, hash FROM ledger_seals ORDER BY number DESC LIMIT 1")
    assert (outcome["seals"], outcome["head"]) == (len(LEDGER), f"{number}:{bytes(digest).hex()}")


@pytest.mark.parametrize("task", [sealing_task, chain_task])
def test_who_seals_or_checks_in_the_background_rests_after_each_step(
    past: Past, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Task]
) -> None:
    connect = connector(past.url, name="test")
    if task is chain_task:
        seal(past)
    clock, rests = count(), []
    monkeypatch.setattr(sealing, "time", SimpleNamespace(monotonic=clock.__next__, sleep=rests.append))
    assert run_if_due(connect, task(connect, every_seconds=60), owner="a")
    assert len(rests) >= len(LEDGER)
    assert set(rests) == {1}


def test_many_seals_are_checked_some_at_a_time(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_check, "SEALS_AT_ONCE", 2)
    seal(past)
    past.tell(SESSION_ATTENDANCE, presence(1, 21), presence(2, 21))
    seal(past)
    with closing(psycopg2.connect(past.url)) as connection:
        *_, checked = check_chain(connection)
    ((seals,),) = past.query("SELECT count(*) FROM ledger_seals")
    assert checked.seals == seals > len(LEDGER)
    past.tamper_unseen("DELETE FROM ledger_seals WHERE number = 4", "UPDATE skill_rewards SET points_awarded = 99")
    assert {kind for kind, *_ in broken(past)} == {"seal", "changed"}


def check_on_schedule(past: Past) -> list[tuple[object, ...]]:
    """Check as a worker does, a day later; what fires then."""
    connect = connector(past.url, name="test")
    past.query("UPDATE scheduled_runs SET started_at = started_at - interval '1 day'")
    assert run_if_due(connect, chain_task(connect, every_seconds=3600), owner="a")
    assert not run_if_due(connect, chain_task(connect, every_seconds=3600), owner="b")
    return past.query(
        "SELECT subject, annotations ->> 'found' FROM reward_alerts WHERE kind = 'OPS-11' AND status = 'firing'"
        " ORDER BY subject"
    )


def test_workers_check_the_seals_on_a_schedule_and_tell_what_differs(past: Past) -> None:
    seal(past)
    assert check_on_schedule(past) == []
    past.tamper_unseen("UPDATE xp_transactions SET amount = amount + 1 WHERE semester_id = 10 AND user_id = 1")
    past.query("ALTER TABLE skill_rewards DISABLE TRIGGER append_only_skill_rewards")
    ((row_id,),) = past.query("SELECT id FROM xp_transactions WHERE semester_id = 10 AND user_id = 1")
    off, (subject, found) = check_on_schedule(past)
    assert off == ("skill_rewards", "append_only_skill_rewards is gone or switched off")
    assert (subject, str(found).split(" after ")[0]) == ("xp_transactions under seal 1", f"row {row_id} changed")
    ((outcome,),) = past.query("SELECT outcome FROM scheduled_runs WHERE task = 'verify-chain'")
    assert (outcome["seals"], outcome["broken"]) == (len(LEDGER), 2)
    past.tamper_unseen("UPDATE xp_transactions SET amount = amount - 1 WHERE semester_id = 10 AND user_id = 1")
    past.query("ALTER TABLE skill_rewards ENABLE ALWAYS TRIGGER append_only_skill_rewards")
    assert check_on_schedule(past) == []


def test_an_alert_of_much_tampering_names_some_of_it_and_counts_the_rest(past: Past) -> None:
    for session in range(30, 50):
        past.tell(SESSION_ATTENDANCE, presence(1, session))
    seal(past)
    past.tamper_unseen("UPDATE xp_transactions SET amount = amount + 1")
    ((_, found),) = check_on_schedule(past)
    ((rows,),) = past.query("SELECT count(*) FROM xp_transactions")
    assert (found.count(" changed after "), found.split("; ")[-1]) == (5, f"and {rows - 5} more")
