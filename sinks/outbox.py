"""The outbox: what goes out to Kafka, written in the transaction that decides it and relayed afterwards.

A row packs many messages, so that a transaction of thousands of events writes a handful of rows. `lane` splits the
users (`user_id % LANES`), so that lanes can be relayed independently of each other.

Order: whoever writes for a user holds that user's row lock (for alerts: the alert's own row lock) until it commits. So
of one user's messages the ones written first have the lower ids and are visible first, and a lane read in the order of
its ids, and forgotten only once delivered, is in order per user. A lower id of somebody else may still appear later.

`messages` is a JSON array of `OutboxMessage`s. Triggers written in SQL may add rows in the same form.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct
from psycopg2.extensions import cursor as Cursor

LANES: Final = 4
MAX_ROW_MESSAGES: Final = 500
MAX_ROW_BYTES: Final = 262_144
"""Bounds on one row, so that a relay holds a bounded amount of memory. One larger message still gets a row."""

NO_VALUE: Final = Raw(b"null")


class OutboxMessage(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One message to be: `id` is stable, so that whoever reads the topic can tell a repetition by it.

    `value` is JSON, relayed as it stands, with `id`, `type` and `time` as its CloudEvents headers. A dead letter names
    its row of `dead_letters` instead, where its bytes and headers are.
    """

    topic: str
    key: str | None = None
    id: str
    type: str
    time: datetime
    value: Raw = NO_VALUE
    dead_letter: int | None = None


class OutboxRow(NamedTuple):
    """A row of the outbox as a relay takes it."""

    id: int
    lane: int
    messages: list[OutboxMessage]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[OutboxMessage])

_COPY = "COPY outbox (lane, message_count, messages) FROM STDIN"

_TAKE = """
SELECT id, lane, messages
  FROM outbox
 WHERE lane = ANY (%(lanes)s) AND id <> ALL (%(taken)s)
 ORDER BY id
 LIMIT %(limit)s
"""

_DELETE = "DELETE FROM outbox WHERE id = ANY (%(ids)s)"

_BACKLOG = "SELECT coalesce(sum(message_count), 0) FROM outbox"


def recorded_id(event_key: str) -> str:
    """Make the stable id of the message that an event was recorded."""
    return f"recorded:{event_key}"


def dead_letter_id(log_id: str, topic: str, partition: int, offset: int) -> str:
    """Make the stable id of a dead letter's message."""
    return f"dead-letter:{log_id}:{topic}:{partition}:{offset}"


def write_messages(cursor: Cursor, messages: Iterable[tuple[int, OutboxMessage]]) -> int:
    """Write `(user_id, message)` pairs in their order, within the caller's transaction; how many there were."""
    lanes: list[list[bytes]] = [[] for _ in range(LANES)]
    encode = _encoder.encode
    for user_id, message in messages:
        lanes[user_id % LANES].append(encode(message))
    lines = [line for lane, encoded in enumerate(lanes) for line in _copy_lines(lane, encoded)]
    if lines:
        cursor.copy_expert(_COPY, BytesIO(b"".join(lines)))
    return sum(map(len, lanes))


def _copy_lines(lane: int, encoded: Sequence[bytes]) -> Iterator[bytes]:
    for row in _rows(encoded):
        # COPY's text form: a JSON text escapes its control characters itself, but a value that somebody else
        # formatted may have line breaks and tabs between its members, where a blank means the same.
        text = b"[%b]" % b",".join(row)
        text = text.replace(b"\\", b"\\\\")
        if b"\n" in text or b"\r" in text or b"\t" in text:
            text = text.translate(_BLANKS)
        yield b"%d\t%d\t%b\n" % (lane, len(row), text)


_BLANKS: Final = bytes.maketrans(b"\n\r\t", b"   ")


def _rows(encoded: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    row: list[bytes] = []
    size = 0
    for message in encoded:
        if row and (len(row) == MAX_ROW_MESSAGES or size + len(message) > MAX_ROW_BYTES):
            yield row
            row, size = [], 0
        row.append(message)
        size += len(message) + 1
    if row:
        yield row


def take(cursor: Cursor, lanes: Sequence[int], limit: int, taken: Sequence[int] = ()) -> list[OutboxRow]:
    """Fetch the oldest rows of `lanes`, in order, but for those that the caller has `taken` and not yet deleted."""
    cursor.execute(_TAKE, {"lanes": list(lanes), "taken": list(taken), "limit": limit})
    return [OutboxRow(id_, lane, _decoder.decode(messages)) for id_, lane, messages in cursor.fetchall()]


def delete(cursor: Cursor, ids: Sequence[int]) -> None:
    """Forget rows whose every message was delivered."""
    if ids:
        cursor.execute(_DELETE, {"ids": list(ids)})


def backlog(cursor: Cursor) -> int:
    """Count the messages that wait to be relayed."""
    cursor.execute(_BACKLOG)
    row: Any = cursor.fetchone()
    return int(row[0])
