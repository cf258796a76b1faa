"""The academy's four administrative paths: progress and license that stand apart, found and mended."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, get_args

from fastapi import FastAPI, Path, Query, Request
from psycopg2.extensions import cursor as Cursor
from pydantic import BaseModel, ConfigDict, Field

from api.auth import CalledBy
from api.bodies import JSON, read_model
from api.limits import LARGEST_PAGE, PAGE, Limit
from api.models import DesyncIssue, DesyncIssues, DesyncKind, Pair, PlanApplied, SyncItem, UserSynced
from api.openapi import answer, problems
from api.problems import Problem, no_such
from api.service import Service, Serving
from schemas.events import MAX_ID
from sinks.accounts import fetch_standings
from sinks.coupling.desyncs import (
    Desync,
    UnknownSpecialization,
    check,
    count_desyncs,
    find_desyncs,
    known_specializations,
)
from sinks.coupling.plans import (
    Item,
    Plan,
    Scope,
    Side,
    UnknownPlan,
    count_outcomes,
    fetch_items,
    fetch_plan,
    make_plan,
)
from streams.sync import apply_plan, sync

SYNC: Final = "/api/v1/licenses/admin/sync"

UserId = Annotated[int, Path(ge=1, le=MAX_ID)]
Specialization = Annotated[str, Query(pattern=r"^[^\x00]{1,50}$", examples=["PLAYER"])]
After = Annotated[str, Query(pattern=r"^[0-9]{1,18}:[^\x00]{1,50}$", description="`next` of the page before.")]
Reason = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]


class _Order(BaseModel):
    """What a body may say; nothing else, so that a slip of the pen is not taken for the default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Side = "progress"
    reason: Reason = ""


class OneOrder(_Order):
    """Mend one specialization of a user."""

    specialization: Annotated[str, Field(pattern=r"^[^\x00]{1,50}$")] = "PLAYER"


class UserOrder(_Order):
    """Mend every specialization of a user."""


class EveryoneOrder(_Order):
    """Plan to mend everyone, or do it; with `plan_id` just as planned."""

    dry_run: bool = True
    plan_id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = None


_PENDING: Final = SyncItem(
    user_id=5,
    specialization="COACH",
    kinds=["level_mismatch"],
    progress_level=2,
    license_level=3,
    highest_level=3,
    new_level=2,
    outcome="pending",
    detail=None,
    applied_at=None,
)
_FOUND: Final = DesyncIssues(
    counts={kind: int(kind == "level_mismatch") for kind in get_args(DesyncKind)},
    issues=[
        DesyncIssue(
            user_id=5,
            specialization="COACH",
            progress_level=2,
            license_level=3,
            highest_level=3,
            max_level=8,
            kinds=["level_mismatch"],
        )
    ],
    next=None,
)
_SYNCED: Final = UserSynced(
    user_id=5,
    items=[_PENDING.model_copy(update={"outcome": "synced", "applied_at": datetime(2026, 11, 1, 8, tzinfo=UTC)})],
    after=[
        Pair(
            specialization="COACH",
            consistent=True,
            progress_level=2,
            license_level=2,
            difference=0,
            message="progress and license are both at level 2",
            recommended_action="none",
        )
    ],
)
_PLANNED: Final = PlanApplied(
    plan_id="0f3a2b1c4d5e6f70",
    dry_run=True,
    complete=False,
    source="progress",
    counts={"pending": 1, "synced": 0, "changed": 0, "refused": 0},
    items=[_PENDING],
    truncated=False,
)


def add_routes(app: FastAPI) -> None:
    """Add them."""
    missing = UnknownSpecialization("there is no specialization 'GOALKEEPER': known are COACH, INTERNSHIP, PLAYER")
    found = answer(HTTPStatus.OK, _FOUND, "A page of them.")
    synced = answer(HTTPStatus.OK, _SYNCED, "What was found apart, and what came of it.") | problems(404, 408, 413, 415)
    planned = answer(HTTPStatus.OK, _PLANNED, "The plan, and what came of it.") | problems(404, 408, 413, 415)
    named = problems(_unknown(missing))
    app.get(f"{SYNC}/desync-issues", responses=found | named)(desync_issues)
    app.post(f"{SYNC}/user/{{user_id}}", responses=synced | named, openapi_extra=_body(OneOrder))(sync_one)
    app.post(f"{SYNC}/user/{{user_id}}/all", responses=synced, openapi_extra=_body(UserOrder))(sync_user)
    app.post(f"{SYNC}/all", responses=planned, openapi_extra=_body(EveryoneOrder))(sync_everyone)


async def desync_issues(
    service: Serving, specialization: Specialization | None = None, after: After = "0:-", limit: Limit = PAGE
) -> DesyncIssues:
    """List whose progress and license stand apart, and in what."""
    user_id, _, name = after.partition(":")

    def find(cursor: Cursor) -> tuple[dict[Any, int], list[Desync]]:
        if specialization is not None:
            known_specializations(cursor, [specialization])
        start = (int(user_id), name)
        found = find_desyncs(cursor, specialization=specialization, after=start, limit=limit + 1)
        return count_desyncs(cursor, specialization=specialization), found

    try:
        counts, found = await service.read(find)
    except UnknownSpecialization as error:
        raise _unknown(error) from error
    issues = [DesyncIssue.model_validate(desync._asdict()) for desync in found[:limit]]
    following = f"{issues[-1].user_id}:{issues[-1].specialization}" if len(found) > limit else None
    return DesyncIssues(counts=counts, issues=issues, next=following)


async def sync_one(user_id: UserId, request: Request, service: Serving, caller: CalledBy) -> UserSynced:
    """Bring the user's progress and license in one specialization together; `source` wins where both exist."""
    order = await read_model(request, OneOrder, optional=True)
    return await _sync(service, Scope(user_id, order.specialization), order, caller.actor)


async def sync_user(user_id: UserId, request: Request, service: Serving, caller: CalledBy) -> UserSynced:
    """Bring them together in every specialization of the user."""
    order = await read_model(request, UserOrder, optional=True)
    return await _sync(service, Scope(user_id), order, caller.actor)


async def sync_everyone(request: Request, service: Serving, caller: CalledBy) -> PlanApplied:
    """Plan to bring everyone's together, which changes nothing; or with `dry_run: false` do it.

    With the `plan_id` of a plan, just what was planned is done, and what has changed since is left and named. One call
    makes so many repairs; while some are pending, the same call with the plan's id goes on, and does nothing twice.
    """
    order = await read_model(request, EveryoneOrder, optional=True)
    try:
        plan = await service.write(lambda cursor: _plan(cursor, order, caller.actor))
    except UnknownPlan as error:
        raise no_such("such plan") from error
    if not order.dry_run:
        await service.ledgers.run(
            lambda ledger: apply_plan(
                service.connect,
                ledger,
                plan.id,
                actor=caller.actor,
                origin="http",
                most=service.settings.http_sync_repairs,
            )
        )
    counts, items = await service.read(
        lambda cursor: (count_outcomes(cursor, plan.id), fetch_items(cursor, plan.id, limit=LARGEST_PAGE))
    )
    return PlanApplied.model_validate(
        {
            "plan_id": plan.id,
            "dry_run": order.dry_run,
            "complete": not counts["pending"],
            "source": plan.source,
            "counts": counts,
            "items": [_told(item) for item in items],
            "truncated": len(items) < plan.items,
        }
    )


def _plan(cursor: Cursor, order: EveryoneOrder, actor: str) -> Plan:
    if order.plan_id is not None:
        return fetch_plan(cursor, order.plan_id)
    return make_plan(cursor, Scope(), order.source, actor=actor, reason=order.reason)


async def _sync(service: Service, scope: Scope, order: _Order, actor: str) -> UserSynced:
    user_id = scope.user_id
    assert user_id is not None
    if await service.read(lambda cursor: fetch_standings(cursor, user_id)) is None:
        raise no_such(f"user {user_id}")
    try:
        items = await service.ledgers.run(
            lambda ledger: sync(
                service.connect, ledger, scope, order.source, actor=actor, origin="http", reason=order.reason
            )
        )
    except UnknownSpecialization as error:
        raise _unknown(error) from error
    pairs = await service.read(lambda cursor: _pairs(cursor, user_id, scope.specialization))
    return UserSynced(user_id=user_id, items=[_told(item) for item in items], after=pairs)


def _pairs(cursor: Cursor, user_id: int, specialization: str | None) -> list[Pair]:
    standings = fetch_standings(cursor, user_id) or []
    names = [standing.specialization for standing in standings if specialization in {None, standing.specialization}]
    return [Pair.model_validate(check(cursor, user_id, name)._asdict()) for name in names]


def _told(item: Item) -> SyncItem:
    return SyncItem.model_validate({**item._asdict(), "outcome": item.outcome or "pending"})


def _unknown(error: UnknownSpecialization) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "UNKNOWN_SPECIALIZATION", str(error))


def _body(kind: type[_Order]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    example: dict[str, object] = {"source": "progress"}
    if kind is OneOrder:
        example["specialization"] = "COACH"
    if kind is EveryoneOrder:
        example["dry_run"] = True
    return {"requestBody": {"required": False, "content": {JSON: {"schema": schema, "example": example}}}}
