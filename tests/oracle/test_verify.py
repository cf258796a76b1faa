"""`laurels verify` on a real broker and a real database, an adopted one among them."""

import json
from collections.abc import Iterator

import psycopg2
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ops.cli import main
from ops.oracle import Record
from ops.verification.log import LogReader, Partition, Stretch
from ops.verification.verification import Verification
from ops.verify import verify
from schemas.errors import LaurelsError
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from sinks.migration import migrate_to_head
from streams.logs import Logs
from tests.oracle.academy_log import AT, TOPICS, Academy, command, named, presence, result, transfer

SECONDS = 90


class Broker:
    """What the academy published, on topics of its own."""

    def __init__(self, servers: str, namespace: str) -> None:
        self.settings = {"bootstrap.servers": servers}
        self.namespace = namespace
        self.admin = AdminClient(dict(self.settings))
        made = self.admin.create_topics(
            [NewTopic(namespace + topic, 1, 1, config={"retention.ms": "-1"}) for topic in TOPICS]
        )
        for answer in made.values():
            answer.result(SECONDS)
        self.log_ids = Logs(self.settings, prefix=namespace).identify(TOPICS)
        self.producer = Producer(self.settings)

    def publish(self, academy: Academy) -> None:
        """Publish what stands on the academy's topics in memory; offsets come out the same."""
        for log in academy.topics.records.values():
            for record in log:
                self.producer.produce(
                    self.namespace + record.topic, record.value, record.key, 0, timestamp=record.timestamp_ms or 0
                )
        assert self.producer.flush(SECONDS) == 0

    def close(self) -> None:
        for answer in self.admin.delete_topics([self.namespace + topic for topic in TOPICS]).values():
            answer.result(SECONDS)


@pytest.fixture
def broker(bootstrap_servers: str, namespace: str) -> Iterator[Broker]:
    broker = Broker(bootstrap_servers, namespace)
    yield broker
    broker.close()


@pytest.fixture
def academy(database_url: str, broker: Broker) -> Iterator[Academy]:
    academy = Academy(database_url, broker.log_ids)
    academy.tell(
        TOURNAMENT_RESULTS, result(1, 10, 1), result(1, 10, 1), result(2, 10, 2), b"{", result(2, 10, 3, revision=2)
    )
    academy.tell(SESSION_ATTENDANCE, *[presence(1, session) for session in range(1, 12)])
    academy.tell(LEVEL_COMMANDS, command(1, "up", new_level=4), command(1, "nothing"))
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "paid"))
    academy.tell(TOURNAMENT_ROSTERS, {"tournament_id": 10, "participants": 2, "finalized_at": AT})
    broker.publish(academy)
    yield academy
    academy.close()


def test_verify_reads_the_topics_up_to_the_positions_and_no_further(academy: Academy, broker: Broker) -> None:
    academy.start_over()
    academy.publish(TOURNAMENT_RESULTS, result(3, 10, 4), b"poison")
    broker.publish(academy)
    report = verify(academy.url, broker.settings, prefix=broker.namespace)
    assert report.differences == []
    assert (report.events, report.unverifiable) == (20, 0)


def test_partitions_that_wait_for_others_lose_nothing(
    academy: Academy, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verification.log.AT_ONCE", 1)
    monkeypatch.setattr("ops.verification.log.HELD_BYTES", 0)
    logs = academy.topics.records
    reader = LogReader(
        broker.settings,
        {where: Stretch(0, len(log)) for where, log in logs.items()},
        prefix=broker.namespace,
        timeout_seconds=SECONDS,
    )
    read: dict[Partition, list[Record]] = {where: [] for where in logs}
    for _ in range(max(map(len, logs.values())) + 1):
        for where, records in read.items():
            if (record := reader.next(where)) is not None:
                records.append(record)
    reader.close()
    assert read == logs


def test_verify_names_what_differs_and_exits_with_1(
    academy: Academy, broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", academy.url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.settings["bootstrap.servers"])
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", broker.namespace)
    assert run("verify", "--json") == 0
    capsys.readouterr()
    academy.tamper("UPDATE users SET xp_balance = 1 WHERE id = 2", "UPDATE users SET xp_balance = 1 WHERE id = 1")
    assert run("verify", "--json", "--user", "2") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["events"] == 20
    assert told["compared"]["users"] == 2
    assert told["differences"] == [
        {
            "table": "users",
            "key": "user 2",
            "expected": {"xp_balance": 200},
            "found": {"xp_balance": 1},
            "event": None,
            "user_id": 2,
        }
    ]
    assert run("verify") == 1
    assert "2 differences" in capsys.readouterr().out


def run(*arguments: str) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def test_a_topic_made_anew_is_another_log_and_what_the_old_one_held_is_given(academy: Academy, broker: Broker) -> None:
    for answer in broker.admin.delete_topics([broker.namespace + CREDIT_TRANSFERS]).values():
        answer.result(SECONDS)
    report = verify(academy.url, broker.settings, prefix=broker.namespace)
    assert report.differences == []
    assert report.unverifiable == 1
    broker.admin.create_topics([NewTopic(broker.namespace + CREDIT_TRANSFERS, 1, 1)])


def test_a_broker_that_is_away_is_an_error_and_not_a_forgotten_log(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verification.log.ANSWER_SECONDS", 0.5)
    with pytest.raises(LaurelsError):
        verify(academy.url, {"bootstrap.servers": "127.0.0.1:1", "log_level": 0})


def test_processes_share_what_is_much_and_look_closer_where_one_finds_a_difference(
    academy: Academy, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verify.WORTH_SHARING", 1)
    looked: list[Verification] = []
    look = Verification.run
    monkeypatch.setattr(Verification, "run", lambda self: looked.append(self) or look(self))
    alone = verify(academy.url, broker.settings, prefix=broker.namespace, processes=1)
    assert len(looked) == 1
    together = verify(academy.url, broker.settings, prefix=broker.namespace, processes=3)
    assert len(looked) == 1
    assert (together.events, together.compared, together.differences) == (alone.events, alone.compared, [])
    academy.tamper("UPDATE users SET xp_balance = 0 WHERE id = 1")
    together = verify(academy.url, broker.settings, prefix=broker.namespace, processes=3)
    assert len(looked) == 2
    assert named(together.differences) == [("users", "user 1")]


def test_a_process_that_cannot_do_its_share_ends_the_verification(
    academy: Academy, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verify.WORTH_SHARING", 1)
    monkeypatch.setattr("streams.partner.sys.executable", "false")
    with pytest.raises(LaurelsError, match="ended by itself, with 1"):
        verify(academy.url, broker.settings, prefix=broker.namespace, processes=2)


ODDITIES = """
UPDATE user_licenses SET football_skills = '{}' WHERE user_id = 2;
UPDATE specialization_progress SET current_level = 7 WHERE student_id = 1 AND specialization_id = 'PLAYER';
INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at)
SELECT user_id, semester_id, 'FAIR_PLAY', earned_at FROM tournament_badges WHERE semester_id = 201;
"""
"""Ratings that say nothing, a level that has no license beside it, badges that no placement earns."""


def test_what_is_odd_about_an_adopted_database_is_no_difference(legacy_url: str) -> None:
    with psycopg2.connect(legacy_url) as connection, connection.cursor() as cursor:
        cursor.execute(ODDITIES)
        cursor.execute("SELECT DISTINCT user_id FROM tournament_badges WHERE semester_id = 201")
        earners = [user_id for (user_id,) in cursor.fetchall()]
        cursor.execute(
            "SELECT student_id, specialization_id, completed_sessions, theory_hours_completed"
            " FROM specialization_progress WHERE student_id = 4"
        )
        totals = cursor.fetchall()
    connection.close()
    assert any(hours for *_, hours in totals)
    migrate_to_head(legacy_url)
    academy = Academy(legacy_url)
    try:
        academy.tell(TOURNAMENT_RESULTS, *[result(user, 201, 1, revision=2) for user in earners])
        academy.tell(TOURNAMENT_RESULTS, result(1, 900_000, 1), result(2, 900_000, None), result(2, 900_001, 1))
        academy.tell(
            LEVEL_COMMANDS,
            command(2, "down", new_level=1),
            *[
                command(user, "all", specialization=name, sessions_change=-sessions, theory_hours_change=-hours)
                for user, name, sessions, hours in totals
            ],
        )
        assert academy.verify().differences == []
    finally:
        academy.close()


def test_an_adopted_database_is_taken_as_given_and_goes_on_from_there(legacy_url: str) -> None:
    migrate_to_head(legacy_url)
    academy = Academy(legacy_url)
    try:
        before = academy.verify()
        assert before.differences == []
        assert before.unverifiable > 0
        with psycopg2.connect(legacy_url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT user_id, split_part(event_key, '_', 2)::bigint FROM reward_receipts "
                "WHERE event_key LIKE 'tournament%' ORDER BY seq LIMIT 20"
            )
            tournaments = cursor.fetchall()
            cursor.execute(
                "SELECT user_id, split_part(event_key, '_', 2)::bigint FROM reward_receipts "
                "WHERE event_key LIKE 'session%' ORDER BY seq LIMIT 20"
            )
            sessions = cursor.fetchall()
            cursor.execute("SELECT id FROM users ORDER BY id LIMIT 40")
            users = [user_id for (user_id,) in cursor.fetchall()]
        connection.close()
        skills = [{"name": "passing"}]
        academy.tell(
            TOURNAMENT_RESULTS,
            *[
                result(user, source, 1, revision=1 + n % 2, skills=skills)
                for n, (user, source) in enumerate(tournaments)
            ],
            *[result(user, source, 2, revision=3, status="withdrawn") for user, source in tournaments[:7]],
            *[result(user, 900_001, 2, participants=40, skills=skills) for user in users],
        )
        academy.tell(
            SESSION_ATTENDANCE,
            *[presence(user, source, revision=1 + n % 2, theory_hours=1) for n, (user, source) in enumerate(sessions)],
            *[
                presence(user, 900_000 + n, specialization="COACH" if n % 3 else "PLAYER")
                for user in users[:9]
                for n in range(12)
            ],
        )
        academy.tell(
            LEVEL_COMMANDS,
            *[command(user, "s", sessions_change=15, xp_change=100) for user in users[:12]],
            *[command(user, "l", new_level=3) for user in users[5:20]],
        )
        academy.tell(SESSION_ATTENDANCE, *[presence(user, 910_000) for user in users])
        academy.tell(CREDIT_TRANSFERS, *[transfer(users[n], users[n + 1], 40, "k") for n in range(30)])
        report = academy.verify()
        assert report.differences == []
        academy.tamper(
            f"UPDATE user_licenses SET current_level = 7 WHERE user_id = {users[0]} AND specialization_type = 'PLAYER'"
        )
        assert named(academy.verify().differences) == [("user_licenses", f"user {users[0]}, PLAYER")]
    finally:
        academy.close()
