"""`laurels replay` on a real broker and a real database."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from ops.cli import main
from ops.replay import reading
from schemas.events import CREDIT_TRANSFERS, TOURNAMENT_RESULTS
from sinks.batch import Batch
from sinks.positions import LogState, Partition
from streams.logs import Logs
from tests.oracle.academy_log import NOON_MS, Academy, result, transfer
from tests.oracle.test_verify import SECONDS, Broker
from tests.replay.rows import EVENTS, SKILLS, Laurels, everything, query, restore_empty

RATINGS = "SELECT l.user_id, (football_skills->'passing'->>'results')::int FROM user_licenses l WHERE user_id IN (4, 5) ORDER BY 1"
OURS = "datname = current_database() AND application_name LIKE 'laurels replay%'"


def test_a_replay_of_what_was_applied_changes_no_row(academy: Academy, laurels: Laurels) -> None:
    before = everything(academy.url)
    planned = laurels("replay", "plan")
    assert (planned["events"], planned["changes"], planned["users"]) == (EVENTS, {}, [])
    applied = laurels("replay", "apply", "--plan", planned["plan"])
    assert applied["counts"] == {"recorded": 0, "duplicates": 27, "stale": 2, "dead_letters": 2, "adjusted": 0}
    assert everything(academy.url) == before


def test_users_restored_from_an_older_backup_get_back_what_the_plan_says(
    academy: Academy, laurels: Laurels, capsys: pytest.CaptureFixture[str]
) -> None:
    balances = query(academy.url, "SELECT id, xp_balance, credit_balance FROM users ORDER BY id")
    # Users 1 and 2 together: they hold the two ends of a transfer.
    restore_empty(academy, [1, 2])
    before = everything(academy.url)
    planned = laurels("replay", "plan")
    assert everything(academy.url) == before
    assert [user["user_id"] for user in planned["users"]] == [1, 2]
    with pytest.raises(SystemExit):
        main(["replay", "plan"])
    (totals,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ all ")]
    told = [cell.strip() for cell in totals.split("│")[2:6]]
    sums = {name: sum(user[name] for user in planned["users"]) for name in ("events", "xp", "credits", "skill_points")}
    assert told == [str(sums["events"]), f"{sums['xp']:+d}", f"{sums['credits']:+d}", str(sums["skill_points"])]
    assert planned["inserted"]["reward_receipts"] == 19
    applied = laurels("replay", "apply", "--plan", planned["plan"])
    assert applied["counts"]["recorded"] == 19
    after = everything(academy.url)
    grown = {table: len(after[table]) - len(before[table]) for table in planned["inserted"]}
    assert grown == planned["inserted"]
    assert query(academy.url, "SELECT id, xp_balance, credit_balance FROM users ORDER BY id") == balances
    assert laurels("verify")["differences"] == []
    assert laurels("replay", "plan")["changes"] == {}


def test_a_plan_is_the_same_however_small_its_batches_are(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_empty(academy, [1, 2, 5])
    whole = laurels("replay", "plan")
    monkeypatch.setattr(reading, "AT_ONCE", 2)
    portioned = laurels("replay", "plan")
    assert {**portioned, "seconds": 0} == {**whole, "seconds": 0}
    assert whole["inserted"]["reward_receipts"] > 19


def test_a_plan_that_the_ledger_has_moved_away_from_is_refused(academy: Academy, laurels: Laurels) -> None:
    restore_empty(academy, [3, 4])
    planned = laurels("replay", "plan", "--user", "3", "--user", "4")
    laurels("replay", "apply", "--user", "4")
    # Everything of user 4 is back, ratings and levels included, and nothing of user 3.
    assert {difference["user_id"] for difference in laurels("verify", exits=1)["differences"]} == {3}
    told = laurels("replay", "apply", "--plan", planned["plan"], exits=1)
    assert "the ledger has moved" in told
    assert query(academy.url, "SELECT count(*) FROM reward_receipts WHERE user_id = 3") == [(0,)]


def test_events_never_seen_are_dated_when_they_happened_and_notify_nobody_unless_asked(
    academy: Academy, broker: Broker, laurels: Laurels
) -> None:
    academy.start_over()
    old = "2025-12-01T10:00:00Z"
    academy.publish(TOURNAMENT_RESULTS, *[result(user, 9, 1, skills=SKILLS, occurred_at=old) for user in (4, 5)])
    broker.publish(academy)
    academy.tamper(f"UPDATE partition_positions SET next_offset = next_offset + 2 WHERE topic = '{TOURNAMENT_RESULTS}'")
    assert "tournament_9_result_5" in str(laurels("verify", exits=1)["differences"])
    rated = query(academy.url, RATINGS)
    laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, "--user", "5")
    laurels("replay", "apply", "--topic", TOURNAMENT_RESULTS, "--user", "4", "--announce")
    receipts = query(
        academy.url,
        "SELECT origin, occurred_at::date::text, log_id IS NOT NULL FROM reward_receipts "
        "WHERE event_key LIKE 'tournament\\_9\\_%'",
    )
    assert receipts == [("replay", "2025-12-01", True)] * 2
    # Results are rated in the order in which they happened: the oldest comes first, though it was recorded last.
    again = query(academy.url, RATINGS)
    assert [count for _, count in again] == [count + 1 for _, count in rated]
    assert laurels("verify")["differences"] == []
    announced = query(
        academy.url,
        "SELECT m->'value'->>'event_key', m->'value'->>'announce' FROM outbox, jsonb_array_elements(messages::jsonb) m "
        "WHERE m->'value'->>'event_key' LIKE 'tournament\\_9\\_%' ORDER BY 1",
    )
    assert announced == [("tournament_9_result_4", "true"), ("tournament_9_result_5", "false")]


def test_of_the_users_that_are_named_transfers_are_recorded_in_both_directions(
    academy: Academy, broker: Broker, laurels: Laurels
) -> None:
    academy.start_over()
    transfers = [transfer(1, 2, 5, "to"), transfer(2, 3, 5, "from"), transfer(1, 3, 5, "beside")]
    academy.publish(CREDIT_TRANSFERS, *transfers)
    broker.publish(academy)
    academy.tamper(f"UPDATE partition_positions SET next_offset = next_offset + 3 WHERE topic = '{CREDIT_TRANSFERS}'")
    applied = laurels("replay", "apply", "--topic", CREDIT_TRANSFERS, "--user", "2")
    # The one that the academy began with is user 2's as well.
    assert (applied["events"], applied["counts"]["recorded"], applied["counts"]["duplicates"]) == (5, 2, 1)
    paid = query(academy.url, "SELECT idempotency_key, status FROM credit_transfers ORDER BY receipt_seq")
    assert paid[2:] == [("to", "COMPLETED"), ("from", "COMPLETED")]


def test_a_range_begins_at_a_time_and_ends_before_another(academy: Academy, broker: Broker, laurels: Laurels) -> None:
    for minute in range(3):
        value = json.dumps(result(90 + minute, 9, 1)).encode()
        at = NOON_MS + (minute + 1) * 60_000
        broker.producer.produce(broker.namespace + TOURNAMENT_RESULTS, value, str(90 + minute), 0, timestamp=at)
    assert broker.producer.flush(SECONDS) == 0
    academy.tamper(f"UPDATE partition_positions SET next_offset = next_offset + 3 WHERE topic = '{TOURNAMENT_RESULTS}'")
    first, second, third = [
        datetime.fromtimestamp(NOON_MS / 1000 + (minute + 1) * 60, UTC).isoformat() for minute in range(3)
    ]
    assert laurels("replay", "plan", "--from", second)["events"] == 2
    assert laurels("replay", "plan", "--from", first, "--to", first, exits=3)
    applied = laurels("replay", "apply", "--from", second, "--to", third)
    assert (applied["events"], applied["counts"]["recorded"]) == (1, 1)
    assert query(academy.url, "SELECT id FROM users WHERE id >= 90") == [(91,)]


def test_a_replay_never_reads_beyond_the_live_position(academy: Academy, broker: Broker, laurels: Laurels) -> None:
    academy.start_over()
    academy.publish(TOURNAMENT_RESULTS, result(99, 12, 1))
    broker.publish(academy)
    assert laurels("replay", "apply")["events"] == EVENTS
    assert query(academy.url, "SELECT count(*) FROM users WHERE id = 99") == [(0,)]


WRONG = {
    "--topic nothing": (2, "nothing is not one of"),
    "--from 2999-01-01": (2, "in the future"),
    "--from soon": (2, "neither an offset nor a time"),
    "--partitions x": (2, "not a list of partitions"),
    "--partitions 7-5": (2, "7-5 ends before it begins"),
    "--from 5 --to 5": (3, "range is empty"),
    "--partitions 9": (3, "in partitions 9: nothing can be replayed"),
}


def test_wrong_input_is_told(academy: Academy, laurels: Laurels) -> None:
    for arguments, (exits, told) in WRONG.items():
        said = laurels("replay", "plan", *arguments.split(), exits=exits)
        assert told in " ".join(said.replace("│", " ").split()), arguments


def test_a_broker_that_is_away_is_told_and_no_transaction_waits_for_it(
    academy: Academy, laurels: Laurels, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = []
    ask = Logs.states

    def ask_and_look(logs: Logs, partitions: Iterable[Partition]) -> dict[Partition, LogState]:
        waiting.append(
            query(academy.url, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in trans%' AND " + OURS)
        )
        return ask(logs, partitions)

    monkeypatch.setattr("ops.replay.request.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(Logs, "states", ask_and_look)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert "Kafka does not say" in laurels("replay", "plan", exits=3)
    assert waiting == [[(0,)]]


def test_a_replay_beside_a_live_worker_costs_neither_of_them_anything(academy: Academy, laurels: Laurels) -> None:
    restore_empty(academy, [1, 2])
    fresh = [result(user, 20 + n, 1, skills=SKILLS) for n in range(15) for user in (1, 2, 6)]
    academy.start_over()
    academy.publish(TOURNAMENT_RESULTS, *fresh)
    # Not on the broker's topics, so that only this worker records them.
    deliveries = [
        replace(academy.delivery(each), coordinates=None) for each in academy.topics.records[TOURNAMENT_RESULTS, 0]
    ]

    def work() -> int:
        return sum(academy.ledger.record(Batch([delivery], origin="http")).recorded for delivery in deliveries)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        applied = laurels("replay", "apply", "--rate", "100")
        assert worker.result() == len(fresh)
    assert applied["counts"]["recorded"] == 19
    # What never was on a topic is taken as given from its receipts; balances must add up with it.
    assert laurels("repair", "plan")["balances"] == []
    tables = {difference["table"] for difference in laurels("verify")["differences"]}
    assert tables == set()
