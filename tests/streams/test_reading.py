"""What is read: only what is committed, from Postgres's positions, of the log that the positions are about."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from schemas.events import EVENT_TOPICS, SESSION_ATTENDANCE
from tests.streams.stage import PATIENCE_SECONDS, ROOT, Stage, once_each, presences

EVENTS = presences(range(1, 6), range(1, 21))
COMMAND = {"command_id": "c1", "user_id": 3, "xp_change": 5, "occurred_at": "2026-01-02T03:04:05Z"}


def publish_in_transaction(stage: Stage, events: Iterable[dict[str, Any]], *, commit: bool) -> None:
    producer = begin_transaction(stage, events)
    if commit:
        producer.commit_transaction(PATIENCE_SECONDS)
    else:
        producer.abort_transaction(PATIENCE_SECONDS)


def begin_transaction(stage: Stage, events: Iterable[dict[str, Any]]) -> Producer:
    """Publish events that nobody gets to read before their transaction is over."""
    producer = Producer({"bootstrap.servers": stage.servers, "transactional.id": stage.namespace})
    producer.init_transactions(PATIENCE_SECONDS)
    producer.begin_transaction()
    for event in events:
        producer.produce(stage.namespace + SESSION_ATTENDANCE, key=str(event["user_id"]), value=json.dumps(event))
    producer.flush(PATIENCE_SECONDS)
    return producer


@pytest.mark.usefixtures("real_kafka")
def test_only_what_was_committed_counts_and_no_lag_is_left(stage: Stage) -> None:
    kept, dropped = presences([1], range(1, 11)), presences([1], range(100, 110))
    publish_in_transaction(stage, kept[:5], commit=True)
    publish_in_transaction(stage, dropped[:5], commit=False)
    stage.worker()
    # Not until all is read: whoever ends a transaction does not wait until its marker stands in the log.
    stage.wait_until(lambda: stage.positions() == [12])
    publish_in_transaction(stage, dropped[5:], commit=False)
    stage.wait_until(lambda: stage.positions() == [18])
    publish_in_transaction(stage, kept[5:], commit=True)
    publish_in_transaction(stage, dropped[5:], commit=False)
    # Ten records that count, fifteen that do not, five markers.
    stage.wait_until(lambda: stage.positions() == [30])
    assert stage.sessions_recorded() == once_each(kept)


@pytest.mark.usefixtures("real_kafka")
def test_kafkas_own_offsets_are_only_a_hint(stage: Stage) -> None:
    events = list(EVENTS)
    stage.publish(events)
    worker = stage.worker()
    stage.wait_until_read()
    worker.stop()
    for offset in (3, 104):
        events += (more := presences([offset], range(200, 205)))
        stage.publish(more)
        set_kafkas_offset(stage, offset)
        worker = stage.worker()
        stage.wait_until_read()
        worker.stop()
        assert stage.sessions_recorded() == once_each(events)
        assert stage.acknowledged() == stage.positions()[0], "a hint, but a right one"


def set_kafkas_offset(stage: Stage, offset: int) -> None:
    where = TopicPartition(stage.namespace + SESSION_ATTENDANCE, 0, offset)
    group = ConsumerGroupTopicPartitions(stage.namespace + "workers", [where])
    for answer in stage.admin.alter_consumer_group_offsets([group]).values():
        answer.result(PATIENCE_SECONDS)


@pytest.mark.usefixtures("real_kafka")
def test_a_topic_made_anew_is_read_from_its_start_by_a_worker_that_runs(stage: Stage) -> None:
    stage.publish(EVENTS)
    worker = stage.worker()
    stage.wait_until_read()
    (old,) = stage.query("SELECT DISTINCT log_id FROM partition_positions WHERE topic = %s", SESSION_ATTENDANCE)
    stage.delete_topics([SESSION_ATTENDANCE])
    stage.wait_until(lambda: stage.namespace + SESSION_ATTENDANCE not in stage.admin.list_topics(timeout=10).topics)
    stage.make_topics([SESSION_ATTENDANCE], 1)
    stage.publish(more := presences([50], range(1, 11)))
    stage.wait_until(lambda: stage.positions() == [len(more)])
    (new,) = stage.query("SELECT DISTINCT log_id FROM partition_positions WHERE topic = %s", SESSION_ATTENDANCE)
    assert old != new
    assert stage.sessions_recorded() == once_each([*EVENTS, *more])
    assert worker.runs
    assert "OPS-07" not in stage.alerts(), "nothing of the old log was unread"


def test_another_cluster_is_refused_until_the_move_is_said_to_be_meant(stage: Stage) -> None:
    stage.publish(EVENTS)
    worker = stage.worker()
    stage.wait_until_read()
    worker.stop()
    # As if all of it had been read on another cluster, behind the same address.
    stage.query("UPDATE partition_positions SET log_id = 'elsewhere/' || split_part(log_id, '/', 2), next_offset = 7")
    refused = stage.worker()
    assert refused.ended() == 3
    assert "laurels positions adopt" in refused.said
    assert "worker starts" not in refused.said, "it does not even join its group"
    adopted = laurels(stage, "positions", "adopt", "--actor", "ada", "--json")
    assert len(adopted["adopted"]) == len(EVENT_TOPICS)
    stage.worker()
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS)


@pytest.mark.usefixtures("real_kafka")
def test_a_hole_stops_its_partition_and_no_other_until_it_is_accepted(stage: Stage) -> None:
    stage.publish(EVENTS[:20])
    worker = stage.worker()
    stage.wait_until_read()
    # What a transaction has not committed yet cannot be read before it is gone.
    producer = begin_transaction(stage, EVENTS[20:])
    remove_before(stage, 40)
    producer.commit_transaction(PATIENCE_SECONDS)
    stage.wait_until(lambda: "OPS-08" in stage.alerts())
    stage.publish([COMMAND], topic="level-commands")
    stage.wait_until(lambda: stage.positions("level-commands") == [1])
    assert stage.positions() == [20]
    laurels(stage, "positions", "skip", SESSION_ATTENDANCE, "0", "--json")
    stage.wait_until_read()
    assert stage.sessions_recorded() == once_each(EVENTS[:20] + EVENTS[40:])
    assert worker.runs
    assert "OPS-08" not in stage.alerts()


@pytest.mark.usefixtures("real_kafka")
def test_a_stopped_partition_that_kafka_knows_no_offset_of_keeps_no_other_waiting(stage: Stage) -> None:
    stage.publish(EVENTS[:20])
    worker = stage.worker()
    stage.wait_until_read()
    worker.stop()
    for forgotten in stage.admin.delete_consumer_groups([stage.namespace + "workers"]).values():
        forgotten.result(PATIENCE_SECONDS)
    stage.publish(EVENTS[20:40])
    remove_before(stage, 30)
    stage.worker()
    stage.wait_until(lambda: "OPS-08" in stage.alerts())
    stage.publish([COMMAND], topic="level-commands")
    stage.wait_until(lambda: stage.positions("level-commands") == [1])
    assert stage.positions() == [20]


def remove_before(stage: Stage, offset: int) -> None:
    """Do what retention does: remove the attendance before `offset`."""
    gone = TopicPartition(stage.namespace + SESSION_ATTENDANCE, 0, offset)
    for answer in stage.admin.delete_records([gone]).values():
        answer.result(PATIENCE_SECONDS)


def test_a_worker_that_finds_a_topic_missing_names_it_and_makes_none(stage: Stage) -> None:
    stage.delete_topics(["level-commands"])
    worker = stage.worker()
    assert worker.ended() == 3
    assert "level-commands" in worker.said
    assert stage.namespace + "level-commands" not in stage.admin.list_topics(timeout=10).topics


def laurels(stage: Stage, *arguments: str) -> Any:
    environment = os.environ | {
        "DATABASE_URL": stage.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": stage.servers,
        "LAURELS_GROUP": stage.namespace + "workers",
        "LAURELS_TOPIC_PREFIX": stage.namespace,
    }
    command = [sys.executable, "-m", "ops.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    return json.loads(done.stdout)
