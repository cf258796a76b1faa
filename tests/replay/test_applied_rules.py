"""`laurels replay --rules` on a real broker and a real database."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from pyarrow import parquet

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from schemas.ruleset import load_default
from sinks.batch import Batch
from sinks.migration import migrate_to_head
from tests.oracle.academy_log import Academy, record, result
from tests.oracle.test_verify import Broker
from tests.replay.rows import EVENTS, SKILLS, Laurels, everything, query
from tests.replay.test_resuming import killed_at

ACADEMY = Path("schemas/rulesets/academy.toml").read_text(encoding="utf-8")
DEFAULT = load_default()
RECEIPTS = "SELECT count(*) FROM reward_receipts WHERE event_key ~ '_a[0-9a-f]{8}$'"
LEDGER = ("xp_transactions", "credit_transactions", "skill_rewards", "reward_receipts")


def saying(tmp_path: Path, name: str, *changes: tuple[str, str]) -> str:
    """A file with the academy's ruleset, changed."""
    text = ACADEMY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.fixture
def generous(tmp_path: Path) -> str:
    """More for winning, another name for the badge of the second, and a session that is worth more."""
    return saying(
        tmp_path,
        "generous.toml",
        ("xp = 500\ncredits = 100", "xp = 1777\ncredits = 120"),
        ("xp = 20\ncredits = 2", "xp = 25\ncredits = 2"),
    )


@pytest.fixture
def mean(tmp_path: Path) -> str:
    """Less for winning."""
    return saying(
        tmp_path,
        "mean.toml",
        ("xp = 500\ncredits = 100\nskill_points = 10", "xp = 400\ncredits = 100\nskill_points = 8"),
    )


def assert_all_holds(academy: Academy, laurels: Laurels) -> None:
    """Whatever was adjusted, the topics and the ledger agree, every invariant holds, and nothing is to be repaired."""
    verified = laurels("verify")
    assert (verified["differences"], verified["unverifiable"]) == ([], 0)
    found = laurels("reconcile", "--full", exits=1)
    assert found["differences"] == []
    # The academy's roster of tournament 10 names one more than came.
    assert [violation["invariant"] for violation in found["violations"]] == ["INV-R04"]
    repair = laurels("repair", "plan")
    assert (repair["missing"], repair["balances"], repair["strays"]) == ([], [], [])


def rewards(url: str) -> list[tuple[Any, ...]]:
    """What everybody has."""
    return query(
        url,
        "SELECT u.id, xp_balance, credit_balance, total_xp, p.current_level, l.current_level, completed_sessions, "
        "       (SELECT sum(points_awarded) FROM skill_rewards s WHERE s.user_id = u.id), "
        "       (SELECT array_agg((semester_id, badge_type)::text ORDER BY 1) FROM tournament_badges b "
        "         WHERE b.user_id = u.id AND revoked_at IS NULL), football_skills "
        "  FROM users u LEFT JOIN specialization_progress p ON student_id = u.id "
        "  LEFT JOIN user_licenses l ON l.user_id = u.id AND specialization_type = specialization_id ORDER BY u.id, 5",
    )


def test_what_is_recorded_is_adjusted_to_a_ruleset_exactly_as_planned_and_simulated(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    before = everything(academy.url)
    simulated = laurels("rules", "simulate", generous)
    planned = laurels("replay", "plan", "--rules", generous)
    assert everything(academy.url) == before
    # User 1 was present eleven times; 1 and 5 won a tournament, but 1 lost the one when it was withdrawn from the other.
    gained = {user["user_id"]: user["would_have"]["xp"] - user["has"]["xp"] for user in simulated["users"]}
    assert gained == {1: 1277 + 11 * 5, 5: 1277}
    assert {user["user_id"]: user["xp"] for user in planned["users"]} == gained
    assert planned["increases"]["xp"] == sum(gained.values())
    assert not any(planned["decreases"].values())
    # Rows change where what they say does: what two tournaments gave.
    assert planned["changed"]["tournament_participations"] == 2
    assert "session_attendances" not in planned["changes"]
    applied = laurels("replay", "apply", "--plan", planned["plan"])
    assert applied["counts"]["recorded"] == 0
    assert query(academy.url, RECEIPTS) == [(applied["counts"]["adjusted"],)]
    after = everything(academy.url)
    grown = {table: len(after[table]) - len(before[table]) for table in planned["inserted"]}
    assert grown == planned["inserted"]
    for user in simulated["users"]:
        posted = query(
            academy.url,
            "SELECT (SELECT sum(amount) FROM xp_transactions x WHERE x.user_id = u.id AND transaction_type ~ '_A\\w{8}$'), "
            "       (SELECT coalesce(sum(amount), 0) FROM credit_transactions c "
            "         WHERE c.user_id = u.id AND transaction_type ~ '_A\\w{8}$') "
            f"  FROM users u WHERE u.id = {user['user_id']}",
        )
        figures = [user["would_have"][name] - user["has"][name] for name in ("xp", "credits")]
        assert posted == [tuple(figures)]
    assert laurels("rules", "simulate", generous)["users"] == []
    assert_all_holds(academy, laurels)


def test_a_second_run_by_the_same_ruleset_posts_nothing(academy: Academy, laurels: Laurels, generous: str) -> None:
    laurels("replay", "apply", "--rules", generous)
    before = everything(academy.url)
    planned = laurels("replay", "plan", "--rules", generous)
    assert (planned["changes"], planned["users"]) == ({}, [])
    assert laurels("replay", "apply", "--rules", generous)["counts"]["adjusted"] == 0
    assert everything(academy.url) == before


def test_a_run_that_begins_again_posts_nothing_twice(academy: Academy, laurels: Laurels, generous: str) -> None:
    applied = laurels("replay", "apply", "--rules", generous)
    laurels("replay", "apply", "--rules", DEFAULT.hash, "--allow-decrease")
    before = everything(academy.url)
    # Even where another run has taken back meanwhile what this one did.
    academy.tamper(f"UPDATE replay_runs SET status = 'paused', checkpoints = '{{}}' WHERE id = '{applied['run']}'")
    assert laurels("replay", "resume", applied["run"])["events"] == EVENTS
    assert everything(academy.url) == before


def test_back_to_the_first_ruleset_everybody_has_what_they_had(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    before = rewards(academy.url)
    laurels("replay", "apply", "--rules", generous)
    assert rewards(academy.url) != before
    told = laurels("replay", "apply", "--rules", DEFAULT.hash, exits=1)
    assert "2 users would lose" in told
    laurels("replay", "apply", "--rules", DEFAULT.hash[:6], "--allow-decrease")
    assert rewards(academy.url) == before
    assert_all_holds(academy, laurels)


def test_decreases_are_refused_unless_they_are_allowed(academy: Academy, laurels: Laurels, mean: str) -> None:
    before = everything(academy.url)
    for command in ("plan", "apply"):
        told = laurels("replay", command, "--rules", mean, exits=1)
        assert "2 users would lose 200 XP, 8 skill points: allow it with --allow-decrease" in told
    assert everything(academy.url) == before
    assert query(academy.url, "SELECT count(*) FROM replay_runs") == [(0,)]
    planned = laurels("replay", "plan", "--rules", mean, "--allow-decrease")
    assert (planned["decreases"]["xp"], planned["increases"]["xp"]) == (200, 0)
    assert planned["plan"] != laurels("replay", "plan")["plan"]
    laurels("replay", "apply", "--plan", planned["plan"])
    assert laurels("rules", "simulate", mean)["users"] == []
    assert_all_holds(academy, laurels)


def test_a_plan_holds_for_its_ruleset_and_what_it_allows(
    academy: Academy, laurels: Laurels, generous: str, mean: str
) -> None:
    planned = laurels("replay", "plan", "--rules", generous)
    for others in (("--rules", mean, "--allow-decrease"), ("--rules", generous, "--allow-decrease")):
        told = laurels("replay", "apply", "--plan", planned["plan"], *others, exits=1)
        assert "the ledger has moved: this is plan" in told
    assert query(academy.url, RECEIPTS) == [(0,)]
    assert query(academy.url, "SELECT count(*) FROM rulesets") == [(1,)]
    laurels("replay", "apply", "--plan", planned["plan"], "--rules", generous)
    assert query(academy.url, "SELECT hash, active FROM rulesets ORDER BY active") == [
        (planned["ruleset"], False),
        (DEFAULT.hash, True),
    ]


def test_a_run_killed_again_and_again_posts_what_an_undisturbed_one_does(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    planned = laurels("replay", "plan", "--rules", generous)
    before = everything(academy.url)
    killed_at("after_commit:1", "apply", "--rules", generous, "--rate", "9", "--parallel", "1")
    shown = laurels("replay", "status")["replays"][0]
    assert (shown["status"], shown["done"], shown["ruleset"]) == ("interrupted", 9, planned["ruleset"])
    killed_at("before_commit:1", "resume", shown["id"])
    killed_at("after_commit:2", "resume", shown["id"])
    assert laurels("replay", "resume", shown["id"])["status"] == "done"
    after = everything(academy.url)
    assert {table: len(after[table]) - len(before[table]) for table in LEDGER} == {
        table: planned["inserted"].get(table, 0) for table in LEDGER
    }
    assert_all_holds(academy, laurels)


def test_beside_a_live_worker_both_post_all_of_theirs(academy: Academy, laurels: Laurels, generous: str) -> None:
    corrections = [result(user, 10, 1, revision=2 + n, participants=5) for n in range(15) for user in (3, 4, 5)]
    deliveries = [
        structs.replace(academy.delivery(record(TOURNAMENT_RESULTS, 99, each)), coordinates=None)
        for each in corrections
    ]

    def work() -> int:
        return sum(academy.ledger.record(Batch([delivery], origin="http")).recorded for delivery in deliveries)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        applied = laurels("replay", "apply", "--rules", generous, "--rate", "100")
        assert worker.result() == len(deliveries)
    assert applied["counts"]["adjusted"] > 15
    # Corrections that never were on a topic are taken as given from their receipts.
    assert laurels("verify")["differences"] == []
    assert laurels("repair", "plan")["balances"] == []
    assert [each["invariant"] for each in laurels("reconcile", "--full", exits=1)["violations"]] == ["INV-R04"]


def test_a_live_correction_after_it_is_by_the_ruleset_that_stands_and_against_it(
    academy: Academy, broker: Broker, laurels: Laurels, generous: str
) -> None:
    applied = laurels("replay", "apply", "--rules", generous)
    correction, loss = result(4, 10, 1, revision=2, skills=SKILLS), result(5, 11, 2, revision=2)
    advance(academy, broker, TOURNAMENT_RESULTS, correction, loss)
    stands = applied_ruleset(academy)
    assert query(
        academy.url,
        "SELECT transaction_type, amount, ruleset FROM xp_transactions x JOIN reward_receipts r ON r.seq = receipt_seq "
        "WHERE event_key LIKE '%_r2' AND r.user_id IN (4, 5) AND r.seq > (SELECT max(seq) FROM reward_receipts "
        "WHERE event_key LIKE '%_a' || '{}') ORDER BY r.user_id".format(applied["run"]),
    ) == [("TOURNAMENT_REWARD_R2", 1777 - 100, stands), ("TOURNAMENT_REWARD_R2", 300 - 1777, stands)]
    assert_all_holds(academy, laurels)


def test_what_was_corrected_is_adjusted_by_its_last_revision_alone(
    academy: Academy, broker: Broker, laurels: Laurels, generous: str
) -> None:
    advance(academy, broker, TOURNAMENT_RESULTS, result(3, 10, 1, revision=2), result(3, 11, 1, revision=3))
    laurels("replay", "apply", "--rules", generous)
    assert query(
        academy.url,
        "SELECT semester_id, amount FROM xp_transactions WHERE user_id = 3 AND transaction_type ~ '_A' ORDER BY 1",
    ) == [(10, 1277), (11, 1277)]
    assert (
        query(
            academy.url, "SELECT event_key, revision FROM reward_receipts WHERE user_id = 3 AND event_key ~ '_11_.*_a'"
        )[0][1]
        == 3
    )
    assert_all_holds(academy, laurels)


def test_what_another_event_says_than_the_one_that_stands_is_not_adjusted(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    # The thirteenth result says once more, and otherwise, where user 1 came in tournament 10: a dead letter.
    assert (
        laurels("replay", "plan", "--rules", generous, "--topic", TOURNAMENT_RESULTS, "--from", "13")["changes"] == {}
    )
    applied = laurels("replay", "apply", "--rules", generous, "--topic", TOURNAMENT_RESULTS, "--from", "13")
    assert (applied["events"], applied["counts"]["adjusted"]) == (1, 0)


def test_what_was_withdrawn_gives_nothing_by_any_ruleset(
    academy: Academy, broker: Broker, laurels: Laurels, generous: str
) -> None:
    advance(academy, broker, TOURNAMENT_RESULTS, result(5, 11, None, revision=2, status="withdrawn"))
    laurels("replay", "apply", "--rules", generous)
    given = "SELECT coalesce(sum(amount), 0) FROM xp_transactions WHERE user_id = 5 AND semester_id = 11"
    assert query(academy.url, given) == [(0,)]
    # It comes back, by the ruleset that stands now.
    advance(academy, broker, TOURNAMENT_RESULTS, result(5, 11, 1, revision=3))
    assert query(academy.url, given) == [(1777,)]
    assert_all_holds(academy, laurels)


def test_events_that_the_ledger_never_saw_are_decided_by_the_ruleset_at_once(
    academy: Academy, broker: Broker, laurels: Laurels, generous: str
) -> None:
    stepped_over(academy, broker, result(5, 12, 1), result(2, 10, 1, revision=3))
    # Of the range, user 2's correction alone speaks of tournament 10: it is by the ruleset that decided its source.
    scope = ("--topic", TOURNAMENT_RESULTS, "--from", "14")
    applied = laurels("replay", "apply", "--rules", generous, *scope)
    assert (applied["counts"]["recorded"], applied["counts"]["adjusted"]) == (2, 1)
    assert query(
        academy.url,
        "SELECT transaction_type, amount FROM xp_transactions WHERE (user_id, semester_id) IN ((5, 12), (2, 10)) "
        "ORDER BY semester_id, id",
    ) == [
        ("TOURNAMENT_REWARD", 300),
        ("TOURNAMENT_REWARD_R2", -100),
        ("TOURNAMENT_REWARD_R3", 300),
        (f"TOURNAMENT_REWARD_A{applied['run'].upper()}", 1277),
        ("TOURNAMENT_REWARD", 1777),
    ]
    assert_all_holds(academy, laurels)


def test_badges_and_sessions_go_by_the_ruleset_too(academy: Academy, laurels: Laurels, tmp_path: Path) -> None:
    other = saying(
        tmp_path,
        "other.toml",
        ('badge = "RUNNER_UP"', 'badge = "SECOND"'),
        ("skill_points = 1\ncounts = true", "skill_points = 1\ncounts = false"),
    )
    assert "11 sessions" in laurels("replay", "plan", "--rules", other, exits=1)
    laurels("replay", "apply", "--rules", other, "--allow-decrease")
    assert query(
        academy.url,
        "SELECT DISTINCT badge_type, revoked_at IS NULL FROM tournament_badges WHERE badge_type ~ 'UP|SEC' ORDER BY 1",
    ) == [("RUNNER_UP", False), ("SECOND", True)]
    assert query(
        academy.url,
        "SELECT completed_sessions, theory_hours_completed, milestones_paid FROM specialization_progress "
        "WHERE student_id = 1",
    ) == [(0, 0, 1)]
    assert_all_holds(academy, laurels)


def test_milestones_are_paid_once_and_new_ones_when_a_ruleset_sees_them(
    academy: Academy, laurels: Laurels, tmp_path: Path
) -> None:
    bonuses = "SELECT amount FROM credit_transactions WHERE transaction_type ~ 'BONUS' ORDER BY id"
    dearer = saying(tmp_path, "dearer.toml", ("every_sessions = 10\ncredits = 50", "every_sessions = 10\ncredits = 80"))
    laurels("replay", "apply", "--rules", dearer)
    assert query(academy.url, bonuses) == [(50,)]
    oftener = saying(
        tmp_path, "oftener.toml", ("every_sessions = 10\ncredits = 50", "every_sessions = 5\ncredits = 30")
    )
    laurels("replay", "apply", "--rules", oftener)
    assert query(academy.url, bonuses) == [(50,), (30,)]
    assert_all_holds(academy, laurels)


def test_results_count_for_ratings_as_the_ruleset_has_it_that_stands_for_them(
    academy: Academy, laurels: Laurels, tmp_path: Path
) -> None:
    faster = saying(tmp_path, "faster.toml", ("weight = 0.2", "weight = 0.5"))
    rated = "SELECT user_id, football_skills FROM user_licenses ORDER BY 1"
    before = query(academy.url, rated)
    # Of two tournaments one: the other goes on counting as it did.
    laurels("replay", "apply", "--rules", faster, "--from", "5", "--topic", TOURNAMENT_RESULTS)
    assert (between := query(academy.url, rated)) != before
    assert_all_holds(academy, laurels)
    laurels("replay", "apply", "--rules", faster)
    assert query(academy.url, rated) not in (before, between)
    assert_all_holds(academy, laurels)


def test_a_decrease_that_comes_up_between_plan_and_batch_is_refused_whole(
    academy: Academy, laurels: Laurels, mean: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("ops.replay.planning.refuse_decreases", lambda _decreases: None)
        assert "would lose" in laurels("replay", "apply", "--rules", mean, exits=1)
    assert query(academy.url, RECEIPTS) == [(0,)]
    assert laurels("replay", "status")["replays"][0]["status"] == "failed"


def test_an_adjustment_is_explained_by_its_run_its_ruleset_and_what_it_adjusts(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    applied = laurels("replay", "apply", "--rules", generous, "--actor", "ann")
    told = laurels("explain", "entry", f"tournament_11_xp_5_a{applied['run']}")
    assert told["entry"]["amount"] == 1277
    assert told["ruleset"]["hash"] == applied_ruleset(academy)
    assert (told["run"]["id"], told["run"]["requested_by"]) == (applied["run"], "ann")
    assert told["source"]["event_key"] == "tournament_11_result_5"
    assert (told["source"]["topic"], told["source"]["ruleset"]) == (TOURNAMENT_RESULTS, DEFAULT.hash)
    assert told["history"] == ["tournament_11_result_5", f"tournament_11_result_5_a{applied['run']}"]
    assert "1777 XP" in told["rule"]
    assert '"placement": 1' in told["payload"]
    plain = laurels("explain", "entry", "tournament_11_xp_5")
    assert (plain["run"], plain["source"], plain["entry"]["amount"]) == (None, None, 500)
    assert "500 XP" in plain["rule"]


def test_entries_that_were_removed_are_posted_again_as_adjustments(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    laurels("replay", "apply", "--rules", generous)
    before = query(academy.url, "SELECT idempotency_key, amount FROM xp_transactions ORDER BY 1")
    academy.tamper("DELETE FROM xp_transactions WHERE user_id = 5", "DELETE FROM skill_rewards WHERE user_id = 5")
    laurels("repair", "apply", "--plan", laurels("repair", "plan", exits=1)["plan"])
    assert query(academy.url, "SELECT idempotency_key, amount FROM xp_transactions ORDER BY 1") == before
    assert_all_holds(academy, laurels)


def test_adjustments_are_exported_sealed_and_told_when_one_is_changed(
    academy: Academy, laurels: Laurels, generous: str, tmp_path: Path
) -> None:
    applied = laurels("replay", "apply", "--rules", generous)
    lines, table = tmp_path / "all.jsonl", tmp_path / "all.parquet"
    for output in (lines, table):
        laurels("ledger", "export", "--output", str(output))
    rows = [json.loads(line) for line in lines.read_bytes().splitlines()]
    exported = {row["idempotency_key"]: row for row in rows}[f"tournament_11_xp_5_a{applied['run']}"]
    assert (exported["type"], exported["amount"]) == (f"TOURNAMENT_REWARD_A{applied['run'].upper()}", 1277)
    assert exported["event_key"] == f"tournament_11_result_5_a{applied['run']}"
    assert (exported["ruleset"], exported["topic"], exported["offset"]) == (applied_ruleset(academy), None, None)
    keys = parquet.read_table(table, columns=["table", "id", "amount"]).to_pylist()
    assert keys == [{name: row[name] for name in ("table", "id", "amount")} for row in rows]
    laurels("ledger", "seal")
    assert laurels("ledger", "verify-chain")["broken"] == []
    academy.tamper(
        f"UPDATE xp_transactions SET amount = 9999 WHERE idempotency_key = 'tournament_11_xp_5_a{applied['run']}'"
    )
    assert laurels("ledger", "verify-chain", exits=1)["broken"]


def test_what_no_log_holds_any_more_is_followed_by_its_receipts(
    academy: Academy, laurels: Laurels, generous: str
) -> None:
    laurels("replay", "apply", "--rules", generous)
    academy.topics.starts = dict.fromkeys((TOURNAMENT_RESULTS, SESSION_ATTENDANCE), 1_000)
    report = academy.verify()
    assert report.differences == []
    assert report.unverifiable > 0


def test_what_an_adopted_database_came_with_counts_as_given_until_it_is_corrected(
    legacy_url: str, broker: Broker, laurels: Laurels, generous: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_to_head(legacy_url)
    monkeypatch.setenv("DATABASE_URL", legacy_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.settings["bootstrap.servers"])
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", broker.namespace)
    given = query(
        legacy_url,
        "SELECT user_id FROM reward_receipts WHERE origin = 'adopted' AND event_key LIKE 'tournament_227_%' ORDER BY 1",
    )
    users = [user for (user,) in given]
    with closing(Academy(legacy_url, broker.log_ids)) as academy:
        advance(academy, broker, TOURNAMENT_RESULTS, *[result(user, 227, 1) for user in users])
        advance(academy, broker, TOURNAMENT_RESULTS, result(users[0], 227, 1, revision=2))
        laurels("replay", "apply", "--rules", generous, "--allow-decrease")
        adjusted = "SELECT user_id FROM reward_receipts WHERE event_key ~ '_a[0-9a-f]{8}$'"
        assert query(legacy_url, adjusted) == [(users[0],)]
        assert laurels("verify")["differences"] == []


WRONG = {
    ("--rules", "0123456789abcdef"): (3, "neither a file nor the hash"),
    ("--rules", ""): (3, "by its file or its hash, and neither is given"),
    ("--allow-decrease",): (2, "only goes with --rules"),
    ("--rules", "pinned", "--allow-decrease"): (2, "only goes with --rules"),
}


def test_wrong_input_is_told(academy: Academy, laurels: Laurels) -> None:
    for arguments, (exits, told) in WRONG.items():
        for command in ("plan", "apply"):
            said = laurels("replay", command, *arguments, exits=exits)
            assert told in " ".join(said.replace("│", " ").split()), arguments


def test_a_file_that_is_wrong_says_all_that_is(academy: Academy, laurels: Laurels, tmp_path: Path) -> None:
    broken = saying(tmp_path, "broken.toml", ("xp = 500", "xp = -1"), ("credits = 60", "credit = 60"))
    told = laurels("replay", "plan", "--rules", broken, exits=3)
    assert all(part in told for part in ("broken.toml", "tournament[0].xp", "tournament[1].credit: unknown"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read" in laurels("replay", "plan", "--rules", str(tmp_path / "binary.toml"), exits=3)


def test_a_hash_that_could_be_several_is_told(academy: Academy, laurels: Laurels) -> None:
    academy.tamper(
        "INSERT INTO rulesets (hash, name, content, published_by) "
        f"SELECT '{DEFAULT.hash[:6]}0000000000', name, content, 'test' FROM rulesets"
    )
    assert "could be" in laurels("replay", "plan", "--rules", DEFAULT.hash[:6], exits=3)
    assert laurels("replay", "plan", "--rules", DEFAULT.hash)["changes"] == {}


def advance(academy: Academy, broker: Broker, topic: str, *events: dict[str, Any]) -> None:
    """Publish events and have the worker record them."""
    academy.tell(topic, *events)
    for each in academy.topics.records[topic, 0][-len(events) :]:
        broker.producer.produce(broker.namespace + topic, each.value, each.key, 0, timestamp=each.timestamp_ms or 0)
    assert broker.producer.flush(30) == 0


def stepped_over(academy: Academy, broker: Broker, *events: dict[str, Any]) -> None:
    """Publish results that the position passes by although nobody recorded them."""
    academy.start_over()
    academy.publish(TOURNAMENT_RESULTS, *events)
    broker.publish(academy)
    academy.tamper(
        f"UPDATE partition_positions SET next_offset = next_offset + {len(events)} WHERE topic = '{TOURNAMENT_RESULTS}'"
    )


def applied_ruleset(academy: Academy) -> str:
    """The one ruleset of a file that was applied."""
    ((hash_,),) = query(academy.url, "SELECT hash FROM rulesets WHERE NOT active")
    return str(hash_)
