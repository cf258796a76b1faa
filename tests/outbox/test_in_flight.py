"""What a lane does about rows whose messages are on their way, delivered, or refused."""

from confluent_kafka import KafkaError

from sinks.outbox import OutboxMessage, OutboxRow
from streams.in_flight import SentLane, SentRow
from tests.outbox.desk import NOW

REFUSAL = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


def send(lane: SentLane, *rows: int) -> list[SentRow]:
    """Send rows with these numbers, of two messages each."""
    message = OutboxMessage(topic="t", id="m", type="test.v1", time=NOW)
    sent = [SentRow(OutboxRow(number, 1, [message, message])) for number in rows]
    lane.sent.extend(sent)
    return sent


def deliver(row: SentRow) -> None:
    for _ in row.row.messages:
        row.answered(None, None)


def settled(lane: SentLane) -> list[int]:
    return [row.id for row in lane.settle()]


def test_a_row_is_forgotten_once_all_of_its_messages_and_all_rows_before_it_are_delivered() -> None:
    lane = SentLane()
    first, second, third = send(lane, 1, 2, 3)
    deliver(second)
    first.answered(None, None)
    assert settled(lane) == []
    first.answered(None, None)
    assert settled(lane) == [1, 2]
    deliver(third)
    assert settled(lane) == [3]


def test_a_refused_row_and_those_behind_it_stay_until_nothing_of_the_lane_is_in_flight() -> None:
    lane = SentLane()
    first, second, third = send(lane, 1, 2, 3)
    deliver(first)
    second.answered(REFUSAL, None)
    second.answered(None, None)
    assert settled(lane) == [1]
    assert not lane.ready()
    assert lane.refusal() is None, "the third is on its way still, and would overtake what is sent again"
    deliver(third)
    assert lane.refusal() == REFUSAL
    assert settled(lane) == []


def test_after_a_refusal_a_lane_pauses_and_then_goes_on_row_by_row_until_one_is_delivered() -> None:
    lane = SentLane()
    (first,) = send(lane, 1)
    first.answered(REFUSAL, None)
    assert lane.begin_again() > 0
    assert (list(lane.sent), lane.refusal(), lane.ready()) == ([], None, False)
    lane._backoff.reset()
    assert lane.ready()
    (again,) = send(lane, 1)
    assert not lane.ready()
    deliver(again)
    assert settled(lane) == [1]
    send(lane, 2)
    assert lane.ready()
