"""The relay loses nothing, keeps a user's order, repeats only with the same ids, and yields to nobody but the dead."""

import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from schemas.messages import ChangedRows
from sinks import outbox
from sinks.database import connector
from streams.partitioning import partition_of
from streams.relay import LOCK_CLASS, PRODUCER_SETTINGS, Relay
from tests.outbox.desk import DEADLINE_SECONDS, NOW, PARTITIONS, Desk, delete_topics, make_topic, until

USERS = (1, 2, 3, 4, 5, 6, 7)


def ids(records: list[Any]) -> list[str]:
    return [dict(record.headers())["ce_id"].decode() for record in records]


def numbers_in_order(records: list[Any], user_id: int) -> list[int]:
    """The user's numbers as they first arrived."""
    of_user = [id_ for id_ in ids(records) if id_.startswith(f"{user_id}:")]
    return [int(id_.split(":")[1]) for id_ in dict.fromkeys(of_user)]


def write_a_few_transactions(desk: Desk) -> set[str]:
    for number in range(20):
        desk.write(*((user, number) for user in USERS))
    return {f"{user}:{number}" for user in USERS for number in range(20)}


def test_every_message_arrives_once_in_order_per_user_and_the_outbox_is_empty_afterwards(
    desk: Desk,
) -> None:
    written = write_a_few_transactions(desk)
    with desk.relaying() as relay:
        desk.drained(relay)
        desk.write((3, 20))
        desk.drained(relay)
    records = desk.arrived()
    assert sorted(ids(records)) == sorted(written | {"3:20"})
    assert numbers_in_order(records, 3) == list(range(21))
    assert all(numbers_in_order(records, user) == list(range(20)) for user in USERS if user != 3)
    assert [record.partition() for record in records] == [partition_of(record.key(), PARTITIONS) for record in records]


def test_the_producer_is_idempotent_and_gives_no_message_up_by_itself(desk: Desk) -> None:
    told: list[str] = []
    settings = {"bootstrap.servers": desk.bootstrap_servers, "statistics.interval.ms": 20, "stats_cb": told.append}
    relay = Relay(connector(desk.url, name="relay"), settings)
    relay.start()
    try:
        desk.write((1, 1))
        desk.drained(relay)
        asked = len(told)
        until(lambda: len(told) > asked)
    finally:
        relay.stop()
    # What is told of the broker's knowing the producer again is told of idempotent ones alone.
    assert msgspec.json.decode(told[-1])["eos"]["idemp_state"] == "Assigned"
    assert PRODUCER_SETTINGS["message.timeout.ms"] == 0


def test_a_message_is_a_cloud_event_with_its_value_untouched(desk: Desk) -> None:
    desk.write((8, 1))
    with desk.relaying() as relay:
        desk.drained(relay)
    (record,) = desk.arrived()
    assert (record.key(), record.value()) == (b"8", b'{"number":1}')
    assert dict(record.headers()) == {
        "ce_specversion": b"1.0",
        "ce_id": b"8:1",
        "ce_type": b"test.v1",
        "ce_source": b"/laurels",
        "ce_time": b"2026-03-01T12:00:00Z",
        "content-type": b"application/json",
    }


@pytest.mark.parametrize(
    "failpoint",
    [
        "relay_before_sending:3",
        "relay_after_sending:3",
        "relay_before_deleting",
        "relay_before_deleting:2",
        "relay_after_deleting",
    ],
)
def test_a_relay_killed_at_any_point_loses_nothing_and_repeats_with_the_same_ids(desk: Desk, failpoint: str) -> None:
    written = write_a_few_transactions(desk)
    process = desk.process(failpoint)
    try:
        until(lambda: desk.backlog() == 0 or process.poll() is not None)
        desk.write((1, 20))
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    with desk.relaying() as relay:
        desk.drained(relay)
    records = desk.arrived()
    assert set(ids(records)) == written | {"1:20"}
    assert numbers_in_order(records, 1) == list(range(21))
    assert all(numbers_in_order(records, user) == list(range(20)) for user in USERS if user != 1)


def test_a_relay_stands_by_while_another_holds_the_lanes_and_takes_over_when_it_dies(
    desk: Desk,
) -> None:
    process = desk.process()
    try:
        desk.write((1, 1))
        desk.drained()
        with desk.relaying() as standby:
            desk.write((1, 2))
            desk.drained()
            # It has asked for every lane, and now just sees whether its connection stands.
            until(lambda: len(desk.sessions_that_did("SELECT 1")) == 1)
            assert standby.counts.lanes == 0
            process.kill()
            until(lambda: standby.counts.lanes == outbox.LANES)
            desk.write((1, 3))
            desk.drained()
            # It counts what it has deleted.
            until(lambda: standby.counts.delivered == 1)
    finally:
        process.kill()
        process.wait()
    assert ids(desk.arrived()) == ["1:1", "1:2", "1:3"]


def test_a_refused_message_stops_its_lane_alone_until_it_is_gone(desk: Desk) -> None:
    with desk.connection, desk.connection.cursor() as cursor:
        huge = desk.message(1, 1, "x" * 2_000_000)
        outbox.write_messages(cursor, [(1, huge), (2, desk.message(2, 1))])
    desk.write((1, 2), (2, 2))
    with desk.relaying() as relay:
        until(lambda: relay.counts.refused > 1)
        until(lambda: desk.backlog() == 2)
        assert ids(desk.arrived()) == ["2:1", "2:2"]
        with desk.connection, desk.connection.cursor() as cursor:
            cursor.execute("DELETE FROM outbox WHERE length(messages) > 1000000")
        desk.drained(relay)
    assert sorted(ids(desk.arrived())) == ["1:2", "2:1", "2:2"]


def test_a_relay_whose_connection_is_cut_begins_again(desk: Desk) -> None:
    with desk.relaying() as relay:
        desk.write((1, 1))
        desk.drained(relay)
        with desk.connection, desk.connection.cursor() as cursor:
            cursor.execute(
                """WITH holders AS MATERIALIZED (
                       SELECT DISTINCT pid FROM pg_locks
                        WHERE locktype = 'advisory' AND classid = %s
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
                   SELECT pg_terminate_backend(pid) FROM holders""",
                (LOCK_CLASS,),
            )
            assert cursor.fetchall() == [(True,)]
        desk.write((1, 2))
        desk.drained(relay)
    assert ids(desk.arrived()) == ["1:1", "1:2"]


def test_a_relay_without_a_broker_stops_when_told_and_keeps_the_messages(
    desk: Desk,
) -> None:
    desk.write((1, 1))
    nowhere = Desk(desk.url, "127.0.0.1:9", desk.topic, desk.connection)
    with nowhere.relaying() as relay:
        until(lambda: relay.counts.lanes == outbox.LANES)
    assert desk.backlog() == 1
    with desk.relaying() as relay:
        desk.drained(relay)


def test_a_relay_ends_loudly_when_the_outbox_cannot_be_read(desk: Desk) -> None:
    with desk.connection, desk.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox RENAME TO elsewhere")
    relay: Relay = desk.relay()
    relay.start()
    until(lambda: relay.failure is not None)
    assert "SQLSTATE 42P01" in str(relay.failure)


def test_a_dead_letter_arrives_with_its_bytes_headers_coordinates_and_reason(desk: Desk, namespace: str) -> None:
    topic = f"{namespace}-results.dlq"
    make_topic(desk.bootstrap_servers, topic, 1)
    with desk.connection, desk.connection.cursor() as cursor:
        letters = []
        for offset, value in enumerate([b"\xff{", None, b"x" * 1_000_000]):
            cursor.execute(
                """INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail, key, value, headers)
                   VALUES ('results', 'c/t', 2, %s, 'undecodable', 'not JSON', 'k', %s, '[["trace", "AQI="], ["n", null]]')
                   RETURNING id""",
                (offset, value),
            )
            letters += [row[0] for row in cursor.fetchall()]
        messages = [
            (
                0,
                outbox.OutboxMessage(
                    topic=topic,
                    id=f"dl:{letter}",
                    type="",
                    time=NOW,
                    dead_letter=letter,
                ),
            )
            for letter in letters
        ]
        outbox.write_messages(cursor, messages)
    with desk.relaying() as relay:
        desk.drained(relay)
    undecodable, tombstone, oversize = desk.arrived(topic)
    delete_topics(desk.bootstrap_servers, [topic])
    assert (undecodable.key(), undecodable.value()) == (b"k", b"\xff{")
    assert undecodable.headers() == [
        ("trace", b"\x01\x02"),
        ("n", None),
        ("__connect.errors.message.id", f"dl:{letters[0]}".encode()),
        ("__connect.errors.connector.name", b"laurels"),
        ("__connect.errors.topic", b"results"),
        ("__connect.errors.partition", b"2"),
        ("__connect.errors.offset", b"0"),
        ("__connect.errors.log.id", b"c/t"),
        ("__connect.errors.exception.class.name", b"undecodable"),
        ("__connect.errors.exception.message", b"not JSON"),
    ]
    assert tombstone.value() is None
    assert oversize.value() is None
    assert ("__connect.errors.value.left.out.bytes", b"1000000") in oversize.headers()


def test_what_somebody_else_changes_with_sql_is_relayed_too_under_the_topic_prefix(desk: Desk, namespace: str) -> None:
    topic = f"{namespace}reward-entries"
    make_topic(desk.bootstrap_servers, topic, 1)
    with desk.connection, desk.connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (id) VALUES (5), (6)")
    with desk.connection, desk.connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox")
        cursor.execute("UPDATE users SET xp_balance = 7 WHERE id IN (5, 6)")
    with desk.relaying(topic_prefix=namespace) as relay:
        desk.drained(relay)
    changes = [msgspec.json.decode(record.value(), type=ChangedRows) for record in desk.arrived(topic)]
    delete_topics(desk.bootstrap_servers, [topic])
    assert sorted(user for change in changes for user in change.user_ids) == [5, 6]
    assert {(change.table, change.operation) for change in changes} == {("users", "UPDATE")}


def test_the_relay_command_relays_until_it_is_told_to_stop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", desk.url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", desk.bootstrap_servers)
    desk.write((1, 1))
    process = subprocess.Popen([sys.executable, "-m", "ops.cli", "relay"])
    try:
        desk.drained()
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert ids(desk.arrived()) == ["1:1"]
