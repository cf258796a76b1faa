"""What a message of the outbox is on Kafka: topic, key, value and headers."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.cloudevents import cloudevent_headers
from sinks.dead_letters import DeadLetter, Header
from sinks.outbox import OutboxMessage

SOURCE: Final = "/laurels"

MAX_LETTER_BYTES: Final = 900_000
"""What a dead letter may take on its topic, whose limit is 1 MiB by default: headers were added, and it must arrive.
What is left out is still in `dead_letters`, whole."""


class Outgoing(NamedTuple):
    """A Kafka record to be."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]


def outgoing(message: OutboxMessage, letters: Mapping[int, DeadLetter], topic_prefix: str = "") -> Outgoing:
    """Make the record for `message`; `letters` holds the dead letters that messages name."""
    topic = topic_prefix + message.topic
    if message.dead_letter is not None:
        return _dead_letter(topic, message, letters.get(message.dead_letter))
    key = None if message.key is None else message.key.encode()
    headers = cloudevent_headers(message.id, message.type, SOURCE, message.time)
    return Outgoing(topic, key, bytes(message.value), [*headers])


def _dead_letter(topic: str, message: OutboxMessage, letter: DeadLetter | None) -> Outgoing:
    """Send the dead letter as it was, with what happened in headers named as Kafka Connect names them."""
    identity: list[Header] = [("__connect.errors.message.id", message.id.encode())]
    if letter is None:
        return Outgoing(topic, None, None, [*identity, _error("exception.message", "the dead letter is gone")])
    value, original = letter.value, letter.headers
    errors = [
        *identity,
        _error("connector.name", "laurels"),
        _error("topic", letter.topic),
        _error("partition", letter.partition),
        _error("offset", letter.offset),
        _error("log.id", letter.log_id),
        _error("exception.class.name", letter.reason),
        _error("exception.message", letter.detail),
    ]
    room = MAX_LETTER_BYTES - len(letter.key or b"") - len(letter.detail)
    if value is not None and len(value) > room:
        errors.append(_error("value.left.out.bytes", len(value)))
        value = None
    room -= len(value or b"")
    original_bytes = sum(len(name) + len(content or b"") for name, content in original)
    if original_bytes > room:
        errors.append(_error("headers.left.out.bytes", original_bytes))
        original = []
    return Outgoing(topic, letter.key, value, [*original, *errors])


def _error(name: str, content: str | int) -> Header:
    return f"__connect.errors.{name}", str(content).encode()
