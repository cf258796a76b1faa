"""A publisher for upstream services: every event validated, keyed and partitioned as the readers expect.

    with Publisher("localhost:9092") as publisher:
        publisher.publish(TournamentResult(event_id="r-1", user_id=5, tournament_id=227, status="final", occurred_at=now))

Leaving the block waits until every event is stored by the brokers, and raises `Undelivered` naming those that are not.
"""

import logging
from collections.abc import Collection, Mapping
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.cloudevents import MESSAGE_TYPES, cloudevent_headers, message_id
from schemas.errors import LaurelsError
from schemas.events import EVENT_TOPICS, Event, TournamentRoster, event_subject, event_time
from schemas.parse import check_delivery, read_event
from schemas.rewards import Refused

TOPICS: Final = {kind: topic for topic, kind in EVENT_TOPICS.items()}

_NAMED: Final = 5
"""How many undelivered events a message names."""

_GRACE_SECONDS: Final = 1
"""The producer gives up first, so that it can say why. So long is waited, too, after Ctrl-C."""

_PIECE_SECONDS: Final = 0.2
"""Python hears of Ctrl-C between two waits for the brokers, and not within one."""


class InvalidEvent(LaurelsError):
    """The readers would refuse this event, so it was not sent."""


class Undelivered(LaurelsError):
    """Events that the brokers did not confirm: publish them again; readers ignore what did arrive.

    `events` are their names and the reason for each.
    """

    def __init__(self, events: Mapping[str, str]) -> None:
        named = [f"{name}: {reason}" for name, reason in list(events.items())[:_NAMED]]
        more = [f"and {len(events) - _NAMED} more"] if len(events) > _NAMED else []
        super().__init__(f"{len(events)} not delivered: {'; '.join([*named, *more])}")
        self.events = dict(events)


class Publisher:
    """Publishes events through one idempotent producer. Use it from one thread.

    `config` is librdkafka's, for instance TLS and SASL. `source` says who publishes (`ce_source`). `specializations`
    are checked where they are given; what the academy has, only its database knows. `timeout_seconds` bounds every
    wait for the brokers.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        source: str = "/publisher",
        topic_prefix: str = "",
        specializations: Collection[str] | None = None,
        timeout_seconds: float = 30,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._source = source
        self._topic_prefix = topic_prefix
        self._specializations = specializations
        self._timeout_seconds = timeout_seconds
        self._undelivered: dict[str, str] = {}
        self._waiting: dict[int, str] = {}
        self._count = 0
        self._producer = Producer(
            {
                "logger": logging.getLogger(__name__),
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.timeout.ms": int(timeout_seconds * 1000),
                "topic.metadata.propagation.max.ms": min(5_000, int(timeout_seconds * 500)),
                **(config or {}),
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
            }
        )

    def publish(self, event: Event) -> None:
        """Send one event; raises `InvalidEvent`, naming field and reason, without sending anything.

        What is no event at all, such as the JSON of one, is a `TypeError`.
        """
        topic = TOPICS.get(type(event))
        if topic is None:
            kinds = ", ".join(kind.__name__ for kind in TOPICS)
            raise TypeError(f"publish takes an event ({kinds} of schemas.events), not {type(event).__name__}")
        try:
            value = msgspec.json.encode(event)
        except (UnicodeEncodeError, TypeError, OverflowError) as error:
            raise InvalidEvent(f"{_named(topic, event)}: {error}") from error
        known = self._specializations
        if known is None:
            known = (getattr(event, "specialization", ""),)
        read = read_event(topic, value, known)
        if not isinstance(read, Refused):
            # The record's own time will be later than now, so what is not too far ahead of now will not be of that either.
            read = check_delivery(read, _key(read), time_ns() // 1_000_000) or read
        if isinstance(read, Refused):
            raise InvalidEvent(f"{_named(topic, event)}: {read.detail}")
        # As it was read: structs take any value for a field, for instance a time as text.
        self.send_event(topic, read, value)

    def send_event(self, topic: str, event: Event, value: bytes) -> None:
        """Send `value`, which says `event`, as it is: correctly keyed, with the event's CloudEvents headers."""
        name = message_id(event)
        headers = cloudevent_headers(name, MESSAGE_TYPES[type(event)], self._source, event_time(event))
        self.send(topic, _key(event), value, name=f"{topic} {name}", headers=headers)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        name: str,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Send bytes as they are; `name` is what an error calls them. Waits, within bounds, while the queue is full.

        Raises `Undelivered` for what the producer does not take.
        """
        self._count += 1
        number = self._count

        def delivered(error: KafkaError | None, _message: Message) -> None:
            self._settle(number, error)

        self._waiting[number] = name
        give_up_at = monotonic() + self._timeout_seconds
        while True:
            try:
                self._producer.produce(
                    self._topic_prefix + topic, value, key, on_delivery=delivered, headers=headers or []
                )
                break
            except BufferError as error:
                if monotonic() > give_up_at:
                    raise Undelivered({self._waiting.pop(number): "the brokers take nothing"}) from error
                self._producer.poll(0.1)
            except KafkaException as error:
                raise Undelivered({self._waiting.pop(number): error.args[0].str()}) from error
        self._producer.poll(0)

    @property
    def waiting(self) -> int:
        """How many events are sent and not yet confirmed."""
        return len(self._waiting)

    def flush(self) -> None:
        """Wait until everything sent is confirmed; raises `Undelivered` for what is not."""
        self._wait(self._timeout_seconds + _GRACE_SECONDS)
        failed = self._undelivered | dict.fromkeys(self._waiting.values(), "not confirmed in time")
        self._undelivered, self._waiting = {}, {}
        if failed:
            raise Undelivered(failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
        else:
            # What was sent before the block failed still goes out; the block's own error is the one to hear of.
            self._wait(self._timeout_seconds if isinstance(error, Exception) else _GRACE_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Wait until nothing is on its way any more, so long at most."""
        give_up_at = monotonic() + seconds
        while self._producer.flush(_PIECE_SECONDS) > 0 and monotonic() < give_up_at:
            pass

    def _settle(self, number: int, error: KafkaError | None) -> None:
        name = self._waiting.pop(number, None)
        if name is not None and error is not None:
            self._undelivered[name] = error.str()


def _named(topic: str, event: Event) -> str:
    """What an error calls an event whose fields may be anything: a roster is named after its time only if it has one."""
    return f"{topic} {event.tournament_id if isinstance(event, TournamentRoster) else message_id(event)!r}"


def _key(event: Event) -> bytes:
    return b"%d" % event_subject(event)
