"""Whoever tells of what the invariants find, or that it is over, looks again and tells with nobody else telling meanwhile.

Two who check see different moments. What one has found and not told yet, the other may see mended, with no alert to resolve;
what one has seen in order, the other may have told of since. So whoever has something to tell settles alone, in a
transaction that looks once more; and whoever has nothing to tell waited, before it looked, for who was settling then.

Comparing with the topics takes too long to look once more. Whoever does so is the only one, from before it looks until it
has told.
"""

from typing import Any, Final

from psycopg2.extensions import cursor as Cursor

from sinks.invariants.checking import Scope

_SETTLING: Final = 0x5E771E
"""The advisory lock; the number spells it."""

_COMPARING: Final = 0xC07A8E
"""The advisory lock of whoever compares with the topics."""

LOCK_MS: Final = 30_000
"""Whoever settles in a storm takes seconds, and others may have come before."""

# Given back at once: whoever settles later sees all that was committed before.
_WAIT: Final = "SELECT pg_advisory_lock_shared(%(lock)s), pg_advisory_unlock_shared(%(lock)s)"
_ALONE: Final = "SELECT pg_advisory_xact_lock(%(lock)s)"

_FIRING: Final = """
SELECT kind, subject FROM reward_alerts
 WHERE status = 'firing' AND kind = ANY (%(kinds)s) AND labels ? 'user_id' AND {users}
"""

_CAUGHT_UP: Final = """
SELECT subject FROM reward_alerts a
 WHERE status = 'firing' AND kind = 'INV-R09' AND subject ~ '/[0-9]+ of '
   AND NOT EXISTS (SELECT FROM partition_positions p
                    WHERE a.subject = p.topic || '/' || p.partition || ' of ' || p.consumer_group
                      AND p.log_id = a.labels ->> 'log_id'
                      AND p.next_offset < substring(a.annotations ->> 'expected' FROM '[0-9]+$')::bigint)
"""


def wait_for_settling(cursor: Cursor) -> None:
    """Wait until whoever is settling has committed; to be called before looking."""
    cursor.execute(_WAIT, {"lock": _SETTLING})


def settle_alone(cursor: Cursor) -> None:
    """Have nobody else settle until this transaction ends; what is to be told must be looked for after this."""
    cursor.execute(_ALONE, {"lock": _SETTLING})


def compare_alone(cursor: Cursor) -> bool:
    """Have nobody else compare with the topics until this session ends or lets others; False where somebody does."""
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (_COMPARING,))
    return cursor.fetchone() == (True,)


def let_others_compare(cursor: Cursor) -> None:
    """Be done with it at once: the server takes a moment to see that a session has ended."""
    cursor.execute("SELECT pg_advisory_unlock(%s)", (_COMPARING,))


def firing_users(cursor: Cursor, kinds: list[str], scope: Scope) -> set[tuple[str, str]]:
    """Kind and subject of the alerts of `kinds` that fire about users in `scope`."""
    statement = _FIRING.format(users=scope.condition("(labels ->> 'user_id')::bigint"))
    parameters: dict[str, Any] = {**scope.parameters(), "kinds": kinds}
    cursor.execute(statement, parameters)
    return set(cursor.fetchall())


def firing_positions(cursor: Cursor) -> list[str]:
    """The partitions that alerts fire about because a receipt is ahead of the position."""
    cursor.execute(
        "SELECT subject FROM reward_alerts WHERE status = 'firing' AND kind = 'INV-R09' AND subject ~ '/[0-9]+$'"
    )
    return [subject for (subject,) in cursor.fetchall()]


def positions_caught_up(cursor: Cursor) -> list[str]:
    """What alerts fire about though the position that went back is as far again, or on another log."""
    cursor.execute(_CAUGHT_UP)
    return [subject for (subject,) in cursor.fetchall()]
