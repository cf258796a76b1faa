"""The client for upstream services, on a real broker."""

from _thread import interrupt_main
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import Any

import pytest

from schemas.client import InvalidEvent, Publisher, Undelivered
from schemas.events import (
    CreditTransfer,
    Event,
    LevelCommand,
    SessionAttendance,
    Skill,
    TournamentResult,
    TournamentRoster,
)
from schemas.parse import parse
from tests.interrupting import interruptible
from tests.ops.broker import create_topics, java_partition, stored
from tests.schemas.examples import SPECIALIZATIONS

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)


def result(**changes: Any) -> TournamentResult:
    fields = {"event_id": "r-1", "user_id": 5, "tournament_id": 227, "status": "final", "occurred_at": AT}
    return TournamentResult(**(fields | changes))


EVENTS: list[tuple[str, bytes, str, Event]] = [
    ("tournament-results", b"5", "r-1", result(placement=1, skills=(Skill("passing", 61.5),))),
    (
        "session-attendance",
        b"6",
        "a-1",
        SessionAttendance(event_id="a-1", user_id=6, session_id=789, status="late", occurred_at=AT),
    ),
    ("level-commands", b"7", "c-1", LevelCommand(command_id="c-1", user_id=7, new_level=2, occurred_at=AT)),
    (
        "credit-transfers",
        b"8",
        "8-k",
        CreditTransfer(idempotency_key="k", sender_id=8, receiver_id=9, amount=1, memo="é", occurred_at=AT),
    ),
    (
        "tournament-rosters",
        b"227",
        "227-2024-05-01T10:00:00Z",
        TournamentRoster(tournament_id=227, participants=1, user_ids=(5,), finalized_at=AT),
    ),
]


def test_an_event_arrives_keyed_partitioned_and_named(bootstrap_servers: str, namespace: str) -> None:
    topics = [namespace + topic for topic, *_ in EVENTS]
    create_topics(bootstrap_servers, topics)
    with Publisher(bootstrap_servers, topic_prefix=namespace, source="/tests") as publisher:
        for *_, event in EVENTS:
            publisher.publish(event)
    arrived = {record.topic.removeprefix(namespace): record for record in stored(bootstrap_servers, topics)}
    for topic, key, name, event in EVENTS:
        record = arrived[topic]
        assert record.key == key
        assert record.partition == java_partition(key)
        assert record.headers["ce_id"] == name.encode()
        assert record.headers["ce_source"] == b"/tests"
        assert record.headers["ce_specversion"] == b"1.0"
        assert parse(topic, record.key, record.value, None, SPECIALIZATIONS) == event


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (result(user_id=0), "user_id"),
        (result(placement=9, participants=8), "placement"),
        (result(occurred_at=datetime(2024, 5, 1, 10)), "occurred_at"),  # noqa: DTZ001 - that is what is wrong with it
        (result(occurred_at=datetime.now(UTC) + timedelta(days=2)), "occurred_at"),
        (result(event_id=""), "event_id"),
        (result(event_id="\ud800"), "surrogates"),
        (result(specialization="GOALKEEPER"), "specialization"),
        (result(user_id="5"), "user_id"),
        (result(occurred_at="yesterday"), "occurred_at"),
        (result(skills=({"name": "Passing"},)), r"skills\[0\].name"),
        (TournamentRoster(tournament_id=227, participants=0, finalized_at="yesterday"), "finalized_at"),  # type: ignore[arg-type]
        (TournamentRoster(tournament_id=227, participants=0, finalized_at=None), "finalized_at"),  # type: ignore[arg-type]
    ],
)
def test_an_event_that_would_be_refused_is_not_sent(event: Event, field: str) -> None:
    publisher = Publisher("127.0.0.1:1", specializations=SPECIALIZATIONS)
    with pytest.raises(InvalidEvent, match=field):
        publisher.publish(event)
    assert publisher.waiting == 0


def test_a_time_may_be_given_as_its_text(bootstrap_servers: str, namespace: str) -> None:
    topic = f"{namespace}tournament-results"
    create_topics(bootstrap_servers, [topic])
    with Publisher(bootstrap_servers, topic_prefix=namespace) as publisher:
        publisher.publish(result(occurred_at="2024-05-01T12:00:00+02:00"))
    (record,) = stored(bootstrap_servers, [topic])
    assert record.headers["ce_time"] == b"2024-05-01T10:00:00Z"
    assert parse("tournament-results", record.key, record.value, None, SPECIALIZATIONS) == result()


@pytest.mark.parametrize("thing", [{"event_id": "r-1"}, b"{}", None])
def test_what_is_no_event_is_refused_by_the_names_of_those_that_are(thing: Any) -> None:
    publisher = Publisher("127.0.0.1:1")
    with pytest.raises(TypeError, match=f"not {type(thing).__name__}$") as refused:
        publisher.publish(thing)
    assert all(type(event).__name__ in str(refused.value) for *_, event in EVENTS)
    assert publisher.waiting == 0


def test_what_specializations_there_are_only_the_academy_knows() -> None:
    publisher = Publisher("127.0.0.1:1", timeout_seconds=0.1)
    publisher.publish(result(specialization="GOALKEEPER"))
    assert publisher.waiting == 1
    with pytest.raises(Undelivered):
        publisher.flush()


def test_what_the_brokers_do_not_confirm_is_named(bootstrap_servers: str, namespace: str) -> None:
    publisher = Publisher(bootstrap_servers, topic_prefix=f"{namespace}missing-", timeout_seconds=2)
    publisher.publish(result(event_id="r-17"))
    with pytest.raises(Undelivered, match="tournament-results r-17") as caught:
        publisher.flush()
    assert list(caught.value.events) == ["tournament-results r-17"]
    publisher.flush()


def test_the_error_of_the_block_is_the_one_that_is_heard() -> None:
    publisher = Publisher("127.0.0.1:1", timeout_seconds=0.1)
    publisher.publish(result())
    with pytest.raises(ZeroDivisionError), publisher:
        _ = 1 / 0


def test_a_queue_that_stays_full_gives_up() -> None:
    config = {"queue.buffering.max.messages": 1, "message.timeout.ms": 60_000}
    publisher = Publisher("127.0.0.1:1", timeout_seconds=0.3, config=config)
    publisher.publish(result())
    with pytest.raises(Undelivered, match="r-2: the brokers take nothing"):
        publisher.publish(result(event_id="r-2"))


def test_what_the_producer_does_not_take_is_named_and_not_waited_for() -> None:
    publisher = Publisher("127.0.0.1:1", config={"message.max.bytes": 1_000})
    with pytest.raises(Undelivered, match=r"a long line: .*size too large"):
        publisher.send("tournament-results", b"5", b"x" * 2_000, name="a long line")
    assert publisher.waiting == 0
    publisher.flush()


def test_who_interrupts_is_not_kept_waiting_for_brokers_that_do_not_answer() -> None:
    publisher = Publisher("127.0.0.1:1", timeout_seconds=60)
    publisher.publish(result())
    with pytest.raises(KeyboardInterrupt), publisher:
        raise KeyboardInterrupt
    assert publisher.waiting == 1, "everything was waited for"


def test_an_interruption_is_heard_while_brokers_are_waited_for() -> None:
    publisher = Publisher("127.0.0.1:1", timeout_seconds=60, config={"log_level": 0})
    publisher.publish(result())
    interruption = Timer(0.1, interrupt_main)
    with interruptible(), pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the wait, too
        interruption.start()
        publisher.flush()
    interruption.join()
    publisher._producer.purge()
    with pytest.raises(
        Undelivered, match="Purged"
    ):  # Heard at the end of the wait, it would hide what became of the event.
        publisher.flush()
