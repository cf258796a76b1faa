"""Every entry says which rule, ruleset, receipt and record it comes from; a user's story is told in order."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from confluent_kafka import Producer, TopicPartition
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
COMMANDS = "level-commands"
TRANSFERS = "credit-transfers"
Laurels = Callable[..., Any]


def event(**changes: Any) -> dict[str, Any]:
    base = {"event_id": "e", "user_id": 5, "status": "final", "occurred_at": "2026-03-01T10:00:00Z"}
    return {**base, **changes}


class Academy:
    """Records events as if they had been read from topics; what is published really is on one."""

    def __init__(self, url: str, servers: str, prefix: str, connection: Connection) -> None:
        self.url = url
        self.servers = servers
        self.prefix = prefix
        self.connection = connection
        self.log_id = "no cluster/no topic"
        self.next_offset = 0

    def make_topic(self, topic: str = RESULTS) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(self.prefix + topic, 1, 1)])[self.prefix + topic].result(20)
        self.log_id = Logs({"bootstrap.servers": self.servers}, prefix=self.prefix).identify([topic])[topic]

    def publish(self, topic: str = RESULTS, frame: bytes = b"", **changes: Any) -> None:
        """Put an event on the topic, and record it."""
        producer = Producer({"bootstrap.servers": self.servers})
        producer.produce(self.prefix + topic, frame + json.dumps(event(**changes)).encode(), b"5")
        assert producer.flush(20) == 0
        self.record(topic, **changes)

    def forget_before(self, offset: int) -> None:
        """As retention does."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        place = TopicPartition(self.prefix + RESULTS, 0, offset)
        admin.delete_records([place])[place].result(20)

    def execute(self, statement: str) -> list[Any]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

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


def test_a_payload_that_retention_removed_is_said_to_be_gone(
    real_kafka: str, academy: Academy, laurels: Laurels
) -> None:
    assert academy.servers == real_kafka
    academy.make_topic()
    for tournament in (225, 226, 227):
        academy.publish(tournament_id=tournament, placement=2)
    academy.forget_before(2)
    told = laurels("entry", "tournament_226_xp_5", "--json")
    assert (told["payload"], told["payload_missing"]) == (None, "the topic begins at offset 2 by now")
    assert told["rule"].startswith("placement 2: 300 XP")
    assert json.loads(laurels("entry", "tournament_227_xp_5", "--json")["payload"])["tournament_id"] == 227


def test_a_payload_that_its_topic_never_held_is_said_to_be_missing(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic()
    academy.next_offset = 5
    academy.record(RESULTS, tournament_id=227, placement=2)
    told = laurels("entry", "tournament_227_xp_5", "--json")
    assert told["payload"] is None
    assert told["payload_missing"]


def test_a_payload_is_shown_without_confluent_s_frame(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic()
    academy.publish(frame=b"\x00\x00\x00\x00\xff", tournament_id=227, placement=1)
    assert json.loads(laurels("entry", "tournament_227_xp_5", "--json")["payload"])["tournament_id"] == 227


def test_an_order_that_was_not_met_says_so(academy: Academy, laurels: Laurels) -> None:
    academy.make_topic(COMMANDS)
    academy.publish(COMMANDS, command_id="idle", occurred_at="2026-03-01T10:00:00Z")
    assert (
        laurels("entry", "command_idle_level_5", "--json")["rule"] == "a command sets nothing; refused: empty_command"
    )
    academy.next_offset = 0
    academy.make_topic(TRANSFERS)
    academy.publish(TRANSFERS, sender_id=5, receiver_id=6, amount=30, idempotency_key="k")
    told = laurels("entry", "transfer_5-k_transfer_5", "--json")
    assert told["rule"] == "user 5 gives user 6 30 credits, if their balance covers it; it did not"
    story = laurels("user", "5")
    assert "empty_command" in story
    assert "not covered" in story


def test_a_badge_is_traced_to_the_revision_that_granted_it(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=2)
    academy.record(RESULTS, tournament_id=227, placement=1, revision=3)
    academy.execute(
        """INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (5, 227, 'STRAY', now())"""
    )
    badges = dict(academy.execute("SELECT badge_type, id FROM tournament_badges"))
    told = {name: laurels("entry", f"tournament_badges:{id_}", "--json") for name, id_ in badges.items()}
    assert {name: each["receipt"] and each["receipt"]["event_key"] for name, each in told.items()} == {
        "RUNNER_UP": "tournament_227_result_5",
        "CHAMPION": "tournament_227_result_5_r3",
        "STRAY": None,
    }
    assert told["CHAMPION"]["rule"].startswith("revision 3: placement 1")
    story = laurels("user", "5")
    assert "badge CHAMPION" in story
    assert "badge RUNNER_UP" in story
    assert "revoked" in story


def test_what_the_academy_had_is_said_to_count_as_given(academy: Academy, laurels: Laurels) -> None:
    academy.execute(
        """INSERT INTO users (id) VALUES (5);
           INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, "grant", occurred_at)
           VALUES ('session_3_presence_5', 1, 5, 1, 'adopted', '{"credits": [["SESSION_ATTENDANCE", 2]]}', now());
           INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key)
           VALUES (5, 'SESSION_ATTENDANCE', 2, 'session_3_attendance_5')"""
    )
    told = laurels("entry", "session_3_attendance_5", "--json")
    assert told["receipt"]["origin"] == "adopted"
    assert told["rule"] == "adopted: what the academy had counts as given"
    assert told["payload_missing"] == "the receipt's origin is adopted: it was not read from a topic"


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


def test_a_long_story_says_how_it_goes_on(academy: Academy, laurels: Laurels) -> None:
    for session in (1, 2, 3):
        academy.record("session-attendance", session_id=session, status="late")
    whole = laurels("user", "5", "--json")
    assert (len(whole["receipts"]), whole["next"]) == (3, None)
    first = laurels("user", "5", "--limit", "2", "--json")
    assert first["receipts"] == whole["receipts"][:2]
    rest = laurels("user", "5", "--after", str(first["next"]), "--limit", "1", "--json")
    assert (rest["receipts"], rest["next"]) == (whole["receipts"][2:], None)
    assert laurels("user", "5", "--limit", "2").endswith(f"laurels explain user 5 --after {first['next']}\n")


def test_a_stranger_s_words_are_text_and_no_markup(academy: Academy, laurels: Laurels) -> None:
    academy.record("session-attendance", session_id=3, status="late")
    academy.execute(
        """INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key)
           VALUES (5, '[b]GIFT[/x]', 7, 'gift_1')"""
    )
    assert "[b]GIFT[/x]" in laurels("user", "5")


def test_people_can_read_it_too(academy: Academy, laurels: Laurels) -> None:
    academy.record(RESULTS, tournament_id=227, placement=1)
    assert "user 5: 500 XP, 100 credits" in laurels("user", "5")
    assert "rule: placement 1: 500 XP" in laurels("entry", "tournament_227_reward_5")


@pytest.mark.parametrize("asked", [("entry", "nothing_1"), ("user", "404")])
def test_what_there_is_not_is_an_error(laurels: Laurels, asked: tuple[str, ...]) -> None:
    assert laurels(*asked) == 3


def test_a_name_that_nothing_can_have_is_one_of_nothing(laurels: Laurels) -> None:
    rows = ("99", "9223372036854775808", "9" * 5_000, "٣", "-1", "")
    for named in ("", "users:5", "\udcff", "a\0b", *(f"xp_transactions:{row}" for row in rows)):
        assert laurels("entry", named) == 3, named
    assert laurels("user", str(2**63)) == 3
