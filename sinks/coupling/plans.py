"""Plans: which desyncs are to be mended and how, kept, so that what was looked at is what is done, item by item."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from psycopg2.extensions import cursor as Cursor

from schemas.errors import LaurelsError
from sinks.audit import AuditEntry, write_audit
from sinks.coupling.desyncs import IS_DESYNC, KINDS_OF_PAIR, PAIRS, Kind, known_specializations

Side = Literal["progress", "license"]
Outcome = Literal["synced", "changed", "refused"]

_CREATE: Final = """
INSERT INTO sync_plans (id, source, reason, created_by, advanced_by)
VALUES (%(id)s, %(source)s, %(reason)s, %(created_by)s, %(advanced_by)s)
"""

# Where only one side exists, its level is the one to have.
_FILL: Final = f"""
INSERT INTO sync_plan_items (plan_id, user_id, specialization_id, kinds, progress_level, license_level, highest_level,
    new_level)
SELECT %(id)s, user_id, specialization, {KINDS_OF_PAIR}, progress_level, license_level, highest_level,
       least(CASE %(source)s WHEN 'license' THEN coalesce(license_level, progress_level)
                             ELSE coalesce(progress_level, license_level) END, max_level)
  FROM ({PAIRS}) AS pair WHERE {IS_DESYNC}
"""

_FETCH: Final = """
SELECT id, source, reason, created_by, advanced_by, created_at,
       (SELECT count(*) FROM sync_plan_items WHERE plan_id = plan.id),
       (SELECT count(*) FROM sync_plan_items WHERE plan_id = plan.id AND outcome IS NULL)
  FROM sync_plans AS plan WHERE id = %s
"""

_ITEMS: Final = """
SELECT user_id, specialization_id, kinds, progress_level, license_level, highest_level, new_level, outcome, detail,
       applied_at
  FROM sync_plan_items
 WHERE plan_id = %(plan)s AND (user_id, specialization_id) > (%(after_user)s, %(after_specialization)s)
   AND (outcome IS NULL OR NOT %(pending)s)
 ORDER BY user_id, specialization_id LIMIT %(limit)s
"""

_OUTCOMES: Final = """
SELECT coalesce(outcome, 'pending'), count(*) FROM sync_plan_items WHERE plan_id = %s GROUP BY 1
"""

_SETTLE: Final = """
UPDATE sync_plan_items AS item SET outcome = came.outcome, detail = came.detail, applied_at = now()
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS came (user_id, specialization_id, outcome, detail)
 WHERE item.plan_id = %s AND item.user_id = came.user_id AND item.specialization_id = came.specialization_id
   AND item.outcome IS NULL
"""


class UnknownPlan(LaurelsError):
    """There is no such plan."""


class Plan(NamedTuple):
    """A plan; `source` wins where both sides exist. `items` are what it mends, `pending` those not applied yet."""

    id: str
    source: Side
    reason: str
    created_by: str
    advanced_by: int | None
    created_at: datetime
    items: int
    pending: int


class Item(NamedTuple):
    """One user in one specialization: how it was found, the level that both sides get, and how it came out."""

    user_id: int
    specialization: str
    kinds: list[Kind]
    progress_level: int | None
    license_level: int | None
    highest_level: int | None
    new_level: int
    outcome: Outcome | None = None
    detail: str | None = None
    applied_at: datetime | None = None


class Scope(NamedTuple):
    """Whom a plan is for; None means all."""

    user_id: int | None = None
    specialization: str | None = None


def make_plan(
    cursor: Cursor, scope: Scope, source: Side, *, actor: str, reason: str = "", advanced_by: int | None = None
) -> Plan:
    """Plan to mend every desync in `scope`. `reason` and `advanced_by` go to the progression rows."""
    if scope.specialization is not None:
        known_specializations(cursor, [scope.specialization])
    plan_id = secrets.token_hex(8)
    parameters = {
        "id": plan_id,
        "source": source,
        "reason": reason,
        "created_by": actor,
        "advanced_by": advanced_by,
        **scope._asdict(),
    }
    cursor.execute(_CREATE, parameters)
    cursor.execute(_FILL, parameters)
    told = {"source": source, "reason": reason, **scope._asdict()}
    write_audit(cursor, AuditEntry(actor, "sync.planned", f"plan {plan_id}", told))
    return fetch_plan(cursor, plan_id)


def fetch_plan(cursor: Cursor, plan_id: str) -> Plan:
    """Fetch a plan; raises `UnknownPlan` where there is no such one."""
    cursor.execute(_FETCH, (plan_id,))
    row = cursor.fetchone()
    if row is None:
        message = f"there is no plan {plan_id!r}"
        raise UnknownPlan(message)
    return Plan(*row)


def fetch_items(
    cursor: Cursor, plan_id: str, *, after: tuple[int, str] = (0, ""), limit: int | None = None, pending: bool = False
) -> list[Item]:
    """Fetch a plan's items in the order of users, from the one after `after`; with `pending` those not applied yet."""
    wanted = {"plan": plan_id, "limit": limit, "pending": pending}
    cursor.execute(_ITEMS, {**wanted, "after_user": after[0], "after_specialization": after[1]})
    return [Item(*row) for row in cursor.fetchall()]


def count_outcomes(cursor: Cursor, plan_id: str) -> dict[str, int]:
    """Count a plan's items by outcome, those not applied yet as `pending`."""
    cursor.execute(_OUTCOMES, (plan_id,))
    return {"pending": 0, **dict.fromkeys(get_args(Outcome), 0), **dict(cursor.fetchall())}


def settle_items(cursor: Cursor, plan_id: str, items: Sequence[Item]) -> None:
    """Keep how `items` came out."""
    cursor.execute(
        _SETTLE,
        (
            [item.user_id for item in items],
            [item.specialization for item in items],
            [item.outcome for item in items],
            [item.detail for item in items],
            plan_id,
        ),
    )
