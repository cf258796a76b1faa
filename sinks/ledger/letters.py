"""Records dead letters in the ledger's transaction: the event's bytes, where they came from, and why."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from schemas.alerts import AlertSeen
from schemas.events import dead_letter_topic, event_subject
from schemas.rewards import Refused
from sinks.alerts import raise_alerts
from sinks.batch import Coordinates, Delivery
from sinks.dead_letters import FINAL_REASONS
from sinks.jsonb import as_jsonb
from sinks.outbox import OutboxMessage, dead_letter_id, write_messages

# The same record met again (a replay, a position that was taken back) is the same dead letter.
INSERT = """
INSERT INTO dead_letters AS letter (topic, log_id, partition, "offset", reason, detail, user_id, event_key, key, value,
    headers, produced_at, status)
VALUES %s
ON CONFLICT ON CONSTRAINT uq_dead_letters_coordinates {again}
RETURNING id, topic, log_id, partition, "offset", attempts = 1
"""
COUNT_AGAIN = INSERT.format(again="DO UPDATE SET attempts = letter.attempts + 1, updated_at = now()")
LEAVE_ALONE = INSERT.format(again="DO NOTHING")

MAX_ID: Final = 2**63 - 1
MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
"""The end of the year 9999; a producer may write any number."""


def record_dead_letters(cursor: Cursor, refused: Sequence[tuple[Delivery, Refused]], *, replayed: bool) -> None:
    """Keep every refused delivery that came from a topic, whole, and announce it on the topic's dead letters.

    One that is kept already counts another attempt, unless it was merely replayed: then nothing is written.
    """
    letters: dict[Coordinates, tuple[Delivery, Refused]] = {
        delivery.coordinates: (delivery, refusal) for delivery, refusal in refused if delivery.coordinates is not None
    }
    if not letters:
        return
    now = datetime.now(UTC)
    statement = LEAVE_ALONE if replayed else COUNT_AGAIN
    inserted = execute_values(
        cursor,
        statement,
        [_row(where, *letter) for where, letter in letters.items()],
        page_size=len(letters),
        fetch=True,
    )
    messages = []
    for row_id, topic, log_id, partition, offset, is_new in inserted:
        if not is_new:
            continue
        delivery, refusal = letters[Coordinates(topic, partition, offset, log_id)]
        message = OutboxMessage(
            topic=dead_letter_topic(topic),
            id=dead_letter_id(log_id, topic, partition, offset),
            type=f"laurels.dead-letter.{refusal.reason}",
            time=now,
            dead_letter=row_id,
        )
        messages.append((_user(delivery) or 0, message))
    write_messages(cursor, messages)
    if replayed:
        kept = {Coordinates(topic, partition, offset, log_id) for _, topic, log_id, partition, offset, _ in inserted}
        letters = {where: letter for where, letter in letters.items() if where in kept}
    _raise_conflicts(cursor, letters)


def _row(where: Coordinates, delivery: Delivery, refusal: Refused) -> tuple[object, ...]:
    produced_at = None
    if delivery.timestamp_ms is not None and 0 <= delivery.timestamp_ms <= MAX_TIMESTAMP_MS:
        produced_at = datetime.fromtimestamp(delivery.timestamp_ms / 1000, UTC)
    headers = [(name, None if value is None else base64.b64encode(value).decode()) for name, value in delivery.headers]
    return (
        where.topic,
        where.log_id,
        where.partition,
        where.offset,
        refusal.reason,
        refusal.detail.replace("\0", "\\0"),
        _user(delivery),
        refusal.event_key,
        delivery.key,
        delivery.value,
        as_jsonb(headers),
        produced_at,
        "final" if refusal.reason in FINAL_REASONS else "open",
    )


def _user(delivery: Delivery) -> int | None:
    """The user a dead letter is about: the event's where it could be read, else what the key says."""
    if not isinstance(delivery.parsed, Refused):
        return event_subject(delivery.parsed)
    if delivery.key is None or not delivery.key.isdigit() or not delivery.key.isascii():
        return None
    user_id = int(delivery.key[:20])
    return user_id if user_id <= MAX_ID else None


def _raise_conflicts(cursor: Cursor, letters: dict[Coordinates, tuple[Delivery, Refused]]) -> None:
    conflicts = [
        AlertSeen(
            kind="OPS-01",
            subject=refusal.event_key or str(where),
            expected="the payload that was recorded for this event key and revision",
            found=f"another payload at {where.topic}[{where.partition}]@{where.offset}: {refusal.detail}",
            labels={"topic": where.topic, "user_id": str(_user(delivery) or "")},
        )
        for where, (delivery, refusal) in letters.items()
        if refusal.reason == "conflict"
    ]
    if conflicts:
        raise_alerts(cursor, conflicts)
