"""Dead letters: reading them, and keeping account of what was done about each. Nothing here removes one.

`open` is what a person may look at: retried, it goes through the ledger again; dropped, it is given up with a reason.
`final` is what no retry can change, because the refusal itself is recorded.
"""

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.rewards import RefusalReason, Refused
from sinks.audit import AuditEntry, write_audit
from sinks.batch import Coordinates

Status = Literal["open", "final", "retried", "dropped"]

Header = tuple[str, bytes | None]

FINAL_REASONS: Final[frozenset[RefusalReason]] = frozenset(
    {"conflict", "empty_command", "invalid_level", "negative_total"}
)
"""Refusals that no retry can change: what was recorded stands."""


class DeadLetter(NamedTuple):
    """An event that could not be applied: its bytes, where they came from, why, and what became of it."""

    id: int
    topic: str
    log_id: str
    partition: int
    offset: int
    reason: str
    detail: str
    user_id: int | None
    event_key: str | None
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    produced_at: datetime | None
    status: Status
    attempts: int
    resolved_by: str | None
    resolution: str | None
    recorded_at: datetime
    updated_at: datetime

    @property
    def coordinates(self) -> Coordinates:
        """Where in which log its record stands."""
        return Coordinates(self.topic, self.partition, self.offset, self.log_id)

    @property
    def place(self) -> str:
        """The same, as the audit log names it."""
        return f"{self.topic}[{self.partition}]@{self.offset} of {self.log_id}"


class Filter(NamedTuple):
    """Which dead letters are meant; None means any."""

    topic: str | None = None
    reason: str | None = None
    status: Status | None = None
    user_id: int | None = None
    since: datetime | None = None
    ids: Sequence[int] | None = None


_COLUMNS: Final = (
    'id, topic, log_id, partition, "offset", reason, detail, user_id, event_key, key, value, headers, produced_at, '
    "status, attempts, resolved_by, resolution, recorded_at, updated_at"
)

_FETCH = f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ANY (%s) ORDER BY id"

_WHERE = """
 WHERE (%(topic)s IS NULL OR topic = %(topic)s)
   AND (%(reason)s IS NULL OR reason = %(reason)s)
   AND (%(status)s IS NULL OR status = %(status)s)
   AND (%(user_id)s IS NULL OR user_id = %(user_id)s)
   AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
   AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
"""

_FIND = f"SELECT {_COLUMNS} FROM dead_letters {_WHERE} AND id > %(after)s ORDER BY id LIMIT %(limit)s"

_COUNT = f"SELECT reason, status, count(*) FROM dead_letters {_WHERE} GROUP BY reason, status ORDER BY 1, 2"

_RESOLVE = """
UPDATE dead_letters SET status = %(status)s, resolved_by = %(actor)s, resolution = %(resolution)s, updated_at = now()
 WHERE id = %(id)s AND status = 'open'
"""

_REFUSED_AGAIN = """
UPDATE dead_letters
   SET reason = %(reason)s, detail = %(detail)s, event_key = coalesce(%(event_key)s, event_key), status = %(status)s,
       updated_at = now()
 WHERE id = %(id)s AND status = 'open'
"""


def fetch_dead_letters(cursor: Cursor, ids: Iterable[int]) -> dict[int, DeadLetter]:
    """Fetch the dead letters with these ids, as far as there are."""
    cursor.execute(_FETCH, (list(ids),))
    return {letter.id: letter for letter in map(_letter, cursor.fetchall())}


def find_dead_letters(cursor: Cursor, wanted: Filter, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
    """Fetch dead letters in the order they were recorded, from the one after the id `after`."""
    cursor.execute(_FIND, {**_parameters(wanted), "after": after, "limit": limit})
    return [_letter(row) for row in cursor.fetchall()]


def count_dead_letters(cursor: Cursor, wanted: Filter) -> list[tuple[str, str, int]]:
    """Count them, by reason and status."""
    cursor.execute(_COUNT, _parameters(wanted))
    return list(cursor.fetchall())


def mark_retried(cursor: Cursor, letter: DeadLetter, *, actor: str, outcome: str) -> None:
    """Say that `letter` was applied after all, or needed not be; `outcome` is how."""
    _mark(cursor, letter, "retried", actor, outcome)


def mark_dropped(cursor: Cursor, letter: DeadLetter, *, actor: str, reason: str) -> bool:
    """Give `letter` up, and say whether it was open. It stays, with who did it and why."""
    return _mark(cursor, letter, "dropped", actor, reason)


def mark_refused_again(cursor: Cursor, letter: DeadLetter, refusal: Refused, *, actor: str) -> None:
    """Keep the reason for which a retry of `letter` failed. It stays open, unless that reason is final."""
    status: Status = "final" if refusal.reason in FINAL_REASONS else "open"
    detail = refusal.detail.replace("\0", "\\0")
    changes = {"reason": refusal.reason, "detail": detail, "event_key": refusal.event_key, "status": status}
    cursor.execute(_REFUSED_AGAIN, {"id": letter.id, **changes})
    if cursor.rowcount:
        _audit(cursor, actor, "dead_letter.refused_again", letter, changes)


def _mark(cursor: Cursor, letter: DeadLetter, status: Status, actor: str, resolution: str) -> bool:
    cursor.execute(_RESOLVE, {"id": letter.id, "status": status, "actor": actor, "resolution": resolution})
    if not cursor.rowcount:
        return False
    _audit(cursor, actor, f"dead_letter.{status}", letter, {"resolution": resolution, "reason": letter.reason})
    return True


def _audit(
    cursor: Cursor,
    actor: str,
    action: str,
    letter: DeadLetter,
    detail: dict[str, str | None],
) -> None:
    write_audit(cursor, AuditEntry(actor, action, letter.place, {"dead_letter": str(letter.id), **detail}))


def _parameters(wanted: Filter) -> dict[str, Any]:
    return {**wanted._asdict(), "ids": None if wanted.ids is None else list(wanted.ids)}


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    letter = DeadLetter(*row)
    return letter._replace(
        key=None if letter.key is None else bytes(letter.key),
        value=None if letter.value is None else bytes(letter.value),
        headers=[(name, None if value is None else base64.b64decode(value)) for name, value in row[11]],
    )
