"""Mends desyncs: each by one level command, recorded by the ledger like any other, in batches.

A command's id follows from its plan, user and specialization, so applying a plan again never repeats a repair. The ledger
compares each user with the plan once it has locked them: what has changed since is left as it is, and said.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, Literal, assert_never

from schemas.events import LevelCommand
from schemas.rewards import Decision, Duplicate, Grant, Outdated, Refused, Stale
from sinks.audit import AuditEntry
from sinks.batch import Batch, Delivery, Standing
from sinks.coupling.desyncs import has_desyncs
from sinks.coupling.plans import Item, Outcome, Plan, Scope, Side, fetch_items, fetch_plan, make_plan, settle_items
from sinks.database import Connect, transaction
from sinks.ledger import Ledger
from streams.direct import delivery_at_once
from streams.schedule import Task

CHUNK: Final = 500
"""Repairs in one transaction: more would keep workers waiting for their users."""
EVERY_ONE: Final = sys.maxsize
REASON_CHARACTERS: Final = 500
SCHEDULE: Final = "schedule"
"""Who it is that does what is scheduled."""

Progressed = Callable[[int], None]
Origin = Literal["http", "cli"]


@dataclass(frozen=True, slots=True)
class Applied:
    """How a plan came out: how many items of each outcome by now, and which of them did not end together."""

    plan: Plan
    counts: dict[Outcome, int] = field(default_factory=dict)
    left: list[Item] = field(default_factory=list)


def sync(
    connect: Connect, ledger: Ledger, scope: Scope, source: Side, *, actor: str, origin: Origin, reason: str = ""
) -> list[Item]:
    """Mend every desync in `scope` now, and say what was found and what came of each."""
    with transaction(connect) as cursor:
        plan = make_plan(cursor, scope, source, actor=actor, reason=reason)
    apply_plan(connect, ledger, plan.id, actor=actor, origin=origin)
    with transaction(connect) as cursor:
        return fetch_items(cursor, plan.id)


def apply_plan(
    connect: Connect,
    ledger: Ledger,
    plan_id: str,
    *,
    actor: str,
    origin: Origin,
    most: int = EVERY_ONE,
    progressed: Progressed = lambda _items: None,
) -> Applied:
    """Apply what is left of a plan, `most` repairs at once. Ended before its end, it goes on there when applied again."""
    with closing(connect()) as connection:
        with connection, connection.cursor() as cursor:
            plan = fetch_plan(cursor, plan_id)
        counts: Counter[Outcome] = Counter()
        left: list[Item] = []
        for chunk in _chunks(connect, plan_id, most):
            applied = _apply(ledger, plan, chunk, actor=actor, origin=origin)
            with connection, connection.cursor() as cursor:
                settle_items(cursor, plan_id, applied)
            counts.update(item.outcome for item in applied if item.outcome is not None)
            left.extend(item for item in applied if item.outcome != "synced")
            progressed(len(applied))
    return Applied(plan, dict(counts), left)


def sync_task(connect: Connect, open_ledger: Callable[[], Ledger], *, every_seconds: float) -> Task:
    """Mends every desync there is, progress winning, now and then."""

    def run() -> dict[str, Any]:
        with transaction(connect) as cursor:
            if not has_desyncs(cursor):
                return {}
            plan = make_plan(cursor, Scope(), "progress", actor=SCHEDULE, reason="scheduled")
        with closing(open_ledger()) as ledger:
            applied = apply_plan(connect, ledger, plan.id, actor=SCHEDULE, origin="cli")
        return {"plan": plan.id, **{str(outcome): count for outcome, count in applied.counts.items()}}

    return Task("sync", every_seconds, run)


def _chunks(connect: Connect, plan_id: str, most: int) -> Iterator[list[Item]]:
    after = (0, "")
    with closing(connect()) as connection:
        while most:
            with connection, connection.cursor() as cursor:
                chunk = fetch_items(cursor, plan_id, after=after, limit=min(CHUNK, most), pending=True)
            if not chunk:
                return
            after = chunk[-1].user_id, chunk[-1].specialization
            most -= len(chunk)
            yield chunk


def _apply(ledger: Ledger, plan: Plan, items: list[Item], *, actor: str, origin: Origin) -> list[Item]:
    audit = AuditEntry(actor, "sync.applied", f"plan {plan.id}", {"source": plan.source, "reason": plan.reason})
    recorded = ledger.record(Batch([_delivery(plan, item) for item in items], origin=origin, audit=audit))
    return [_came_out(item, decision) for item, decision in zip(items, recorded.decisions, strict=True)]


def _delivery(plan: Plan, item: Item) -> Delivery:
    only = "license" if item.progress_level is None else "progress" if item.license_level is None else None
    command = LevelCommand(
        command_id=f"sync-{plan.id}-{item.user_id}-{item.specialization}",
        user_id=item.user_id,
        specialization=item.specialization,
        new_level=item.new_level,
        advanced_by=plan.advanced_by,
        reason=f"sync from {only or plan.source} by {plan.created_by}: {plan.reason}"[:REASON_CHARACTERS],
        occurred_at=plan.created_at,
    )
    return delivery_at_once(command, only_if=Standing(item.specialization, item.progress_level, item.license_level))


def _came_out(item: Item, decision: Decision | None) -> Item:
    match decision:
        case Grant() | Duplicate():
            return item._replace(outcome="synced")
        case Outdated(detail=detail):
            return item._replace(outcome="changed", detail=detail)
        case Refused(reason=reason, detail=detail):
            return item._replace(outcome="refused", detail=f"{reason}: {detail}")
        case Stale() | None:
            message = f"a level command came out as {decision}"
            raise AssertionError(message)
        case _:
            assert_never(decision)
