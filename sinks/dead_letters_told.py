"""Dead letters as JSON has them: for a list, and whole."""

import base64
from typing import Any

from schemas.cloudevents import rfc3339
from sinks.dead_letters import DeadLetter


def summary(letter: DeadLetter) -> dict[str, Any]:
    """What a list says of a dead letter."""
    return {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "user_id": letter.user_id,
        "status": letter.status,
        "attempts": letter.attempts,
        "recorded_at": rfc3339(letter.recorded_at),
    }


def whole(letter: DeadLetter) -> dict[str, Any]:
    """Everything there is to say of a dead letter; bytes as text where they are text, and always as base64."""
    return {
        **summary(letter),
        "log_id": letter.log_id,
        "event_key": letter.event_key,
        "key": _text(letter.key),
        "key_base64": _base64(letter.key),
        "value": _text(letter.value),
        "value_base64": _base64(letter.value),
        "headers": [[name, _text(value), _base64(value)] for name, value in letter.headers],
        "produced_at": None if letter.produced_at is None else rfc3339(letter.produced_at),
        "resolved_by": letter.resolved_by,
        "resolution": letter.resolution,
        "updated_at": rfc3339(letter.updated_at),
    }


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
