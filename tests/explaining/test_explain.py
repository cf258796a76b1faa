"""Every entry says which rule, ruleset, receipt and record it comes from; a user's story is told in order."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg2.extensions import connection as Connection

from ops.cli import main
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks.batch import Batch, Coordinates, Delivery
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from streams import rules
from streams.logs import Logs

RESULTS = "tournament-results"
Laurels = Callable[..., Any]


def event(**changes: Any) -> dict[str, Any]:
    base = {"event_id": "e", "user_id": 5, "status": "final", "occurred_at": "2026-03-01T10:00:00Z"}
    return {**base, **changes}


class Academy:
    """Records events as if they had been read from topics; `results` really are on one."""

    def __init__(self, url: str, servers: str, prefix: str, connection: Connection) -> None:
        self.url = url
        self.servers = servers
        self.prefix = prefix
        self.connection = connection
        self.log_id = "no cluster/no topic"
        self.next_offset = 0

    def make_topic(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(self.prefix + RESULTS, 1, 1)])[self.prefix + RESULTS].result(20)
        self.log_id = Logs({"bootstrap.servers": self.servers}, prefix=self.prefix).identify([RESULTS])[RESULTS]

    def publish(self, **changes: Any) -> None:
        """Put a result on the topic, and record it."""
        producer = Producer({"bootstrap.servers": self.servers})
        producer.produce(self.prefix + RESULTS, json.dumps(event(**changes)).encode(), b"5")
        assert producer.flush(20) == 0
        self.record(RESULTS, **changes)

    def record(self, topic: str, **changes: Any) -> None:
        said = event(**changes)
        key = str(said.get("sender_id", said["user_id"])).encode()
        value = json.dumps(said).encode()
        parsed = parse(topic, key, value, None, ("PLAYER", "COACH", "INTERNSHIP"))
        assert not isinstance(parsed, Refused), parsed
        where = Coordinates(topic, 0, self.next_offset, self.log_id)
        self.next_offset += 1
        with closing(Ledger(connector(self.url, name="test"), rules, Identity(group="", owner=""))) as ledger:
            ledger.record(Batch([Delivery(parsed, where, payload_hash(parsed), key, value)], origin="replay"))


@pytest.fixture
def academy(database_url: str, bootstrap_servers: str, namespace: str) -> Iterator[Academy]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield Academy(database_url, bootstrap_servers, namespace, connection)


@pytest.fixture
def laurels(academy: Academy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Laurels:
    """Run `laurels explain`; what it printed as JSON, or the exit code."""
    monkeypatch.setenv("DATABASE_URL", academy.url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", academy.servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", academy.prefix)

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as exit_:
            main(("explain", *arguments))
        printed = capsys.readouterr().out
        if exit_.value.code:
            return exit_.value.code
        return json.loads(printed) if "--json" in arguments else printed

    return run


def test_an_entry_is_traced_to_its_rule_ruleset_receipt_and_payload(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic()
    academy.publish(tournament_id=1, event_id="another", placement=9)
    academy.publish(tournament_id=227, placement=1, participants=12)
    told = laurels("entry", "tournament_227_reward_5", "--json")
    assert (told["entry"]["table"], told["entry"]["amount"]) == ("credit_transactions", 100)
    assert told["rule"] == "placement 1 of 12: 500 XP, 100 credits, 10 points a skill, badge CHAMPION"
    assert told["ruleset"]["hash"] == told["receipt"]["ruleset"]
    receipt = {name: told["receipt"][name] for name in ("event_key", "topic", "partition", "offset", "log_id")}
    assert receipt == {
        "event_key": "tournament_227_result_5",
        "topic": RESULTS,
        "partition": 0,
        "offset": 1,
        "log_id": academy.log_id,
    }
    assert json.loads(told["payload"])["tournament_id"] == 227
    assert told["payload_missing"] is None


def test_a_payload_is_never_taken_from_another_log(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic()
    actual, academy.log_id = academy.log_id, "cluster/old-topic"
    academy.publish(tournament_id=227, placement=2)
    told = laurels("entry", "tournament_227_xp_5", "--json")
    assert told["payload"] is None
    assert actual in told["payload_missing"]
    assert told["rule"] == "placement 2: 300 XP, 60 credits, 7 points a skill, badge RUNNER_UP"


def test_a_payload_that_retention_removed_is_said_to_be_gone(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic()
    academy.next_offset = 5
    academy.record(RESULTS, tournament_id=227, placement=2)
    told = laurels("entry", "tournament_227_xp_5", "--json")
    assert told["payload"] is None
    assert told["payload_missing"]


def test_a_correction_names_what_it_corrects(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=2)
    academy.record(RESULTS, tournament_id=227, placement=1, revision=3)
    told = laurels("entry", "tournament_227_reward_5_r3", "--json")
    assert told["entry"]["amount"] == 40
    assert told["receipt"]["corrects"] == "tournament_227_result_5"
    assert told["history"] == ["tournament_227_result_5", "tournament_227_result_5_r3"]
    assert told["rule"].startswith("revision 3: placement 1: 500 XP")
    assert told["rule"].endswith("less what was given before")
    first = laurels("entry", "tournament_227_reward_5", "--json")
    assert (first["receipt"]["revision"], first["rule"]) == (1, None)


def test_every_kind_of_row_can_be_explained(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=1, skills=[{"name": "passing"}])
    for table in ("xp_transactions", "credit_transactions", "skill_rewards", "tournament_badges"):
        with academy.connection, academy.connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {table}")
            ((id_,),) = cursor.fetchall()
        told = laurels("entry", f"{table}:{id_}", "--json")
        assert (told["entry"]["table"], told["receipt"]["event_key"]) == (table, "tournament_227_result_5")
    with academy.connection, academy.connection.cursor() as cursor:
        cursor.execute("SELECT id FROM license_progressions")
        ((id_,),) = cursor.fetchall()
    told = laurels("entry", f"license_progressions:{id_}", "--json")
    assert (told["entry"]["from_level"], told["entry"]["to_level"], told["entry"]["user_id"]) == (1, 2, 5)
    assert told["receipt"]["event_key"] == "tournament_227_result_5"


def test_both_legs_of_a_transfer_lead_to_the_sender_s_receipt(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=1)
    academy.record("credit-transfers", sender_id=5, receiver_id=6, amount=30, idempotency_key="a-b_c")
    for key in ("transfer_5-a-b_c_debit_5", "transfer_5-a-b_c_credit_6"):
        assert laurels("entry", key, "--json")["receipt"]["event_key"] == "transfer_5-a-b_c_transfer_5"


def test_an_event_is_explained_by_its_event_key(academy: Academy, laurels: Laurels) -> None:
    academy.record("session-attendance", session_id=3, status="late")
    told = laurels("entry", "session_3_presence_5", "--json")
    assert told["entry"] is None
    assert told["rule"].startswith("late: 10 XP, 0 credits, 0 points a skill, counts as a session;")


def test_a_stranger_s_row_has_no_receipt_and_says_so(academy: Academy, laurels: Laurels) -> None:
    academy.record("session-attendance", session_id=3, status="late")
    with academy.connection, academy.connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key)
               VALUES (5, 'GIFT', 7, 'gift_1')"""
        )
    told = laurels("entry", "gift_1", "--json")
    assert (told["receipt"], told["rule"], told["ruleset"]) == (None, None, None)
    assert "somebody else's SQL" in told["payload_missing"]
    story = laurels("user", "5", "--json")
    assert [row["idempotency_key"] for row in story["unreceipted"]] == ["gift_1"]


def test_a_user_s_story_is_in_the_order_it_was_recorded_and_holds_what_others_gave(
    academy: Academy, laurels: Laurels
) -> None:
    academy.record("session-attendance", session_id=3, status="present")
    academy.record(RESULTS, tournament_id=227, placement=1)
    academy.record(RESULTS, tournament_id=227, placement=1, user_id=6)
    academy.record("credit-transfers", user_id=6, sender_id=6, receiver_id=5, amount=30, idempotency_key="k")
    story = laurels("user", "5", "--json")
    assert (story["user"]["xp_balance"], story["user"]["credit_balance"]) == (520, 132)
    (player,) = story["progress"]
    assert (player["specialization"], player["progress"]["total_xp"], player["license"]["current_level"]) == (
        "PLAYER",
        520,
        2,
    )
    told = [(receipt["event_key"], [row.get("amount") for row in receipt["entries"]]) for receipt in story["receipts"]]
    assert told == [
        ("session_3_presence_5", [20, 2]),
        ("tournament_227_result_5", [500, 100, None]),
        ("transfer_6-k_transfer_6", [30]),
    ]
    later = laurels("user", "5", "--after", str(story["receipts"][1]["seq"]), "--json")
    assert [receipt["event_key"] for receipt in later["receipts"]] == ["transfer_6-k_transfer_6"]


def test_people_can_read_it_too(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=1)
    assert "user 5: 500 XP, 100 credits" in laurels("user", "5")
    assert "rule: placement 1: 500 XP" in laurels("entry", "tournament_227_reward_5")


@pytest.mark.parametrize("asked", [("entry", "nothing_1"), ("entry", "xp_transactions:99"), ("user", "404")])
def test_what_there_is_not_is_an_error(laurels: Laurels, asked: tuple[str, ...]) -> None:
    assert laurels(*asked) == 3
