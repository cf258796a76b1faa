"""What there is to read of a user."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Path, Query
from pydantic import AwareDatetime, BeforeValidator

from api.limits import PAGE, AfterId, Limit
from api.models import Balances, Entries, Entry, Explanation, Progress, Standing, Story
from api.openapi import problems
from api.problems import Problem, no_such
from api.service import Serving
from schemas.events import MAX_ID
from sinks.accounts import After, fetch_balances, fetch_entries, fetch_standings
from sinks.explanation import fetch_story
from streams.explaining import explain_from_ledger

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CURSOR: Final = re.compile(r"(\d{1,19})\.(credits|skill|xp)\.(\d{1,19})", re.ASCII)


def _moment(text: object) -> object:
    if isinstance(text, str) and _RFC3339.fullmatch(text) is None:
        raise ValueError("must be RFC 3339 with an offset, such as 2026-05-01T10:00:00Z")
    return text


UserId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[5])]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment, json_schema_input_type=datetime),
    Query(description="As recorded until then.", examples=["2026-05-01T10:00:00Z"]),
]
Named = Annotated[
    str,
    Query(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00]+$",
        description="An entry's idempotency key, `table:id`, or an event's key.",
        examples=["tournament_227_reward_5"],
    ),
]


def add_routes(app: FastAPI) -> None:
    """Add them."""
    user = "/api/v1/users/{user_id}"
    unknown = problems(404)
    app.get(f"{user}/balances", responses=unknown)(balances)
    app.get(f"{user}/entries", responses=unknown)(entries)
    app.get(f"{user}/progress", responses=unknown)(progress)
    app.get(f"{user}/explanation", responses=unknown)(story)
    app.get("/api/v1/explanation", responses=unknown)(explanation)


async def balances(user_id: UserId, service: Serving, at: Moment | None = None) -> Balances:
    """Tell XP and credits: now, or by what was recorded until `at`."""
    found = await service.read(lambda cursor: fetch_balances(cursor, user_id, at))
    if found is None:
        raise no_such(f"user {user_id}")
    return Balances(user_id=user_id, at=at, **found._asdict())


async def entries(
    user_id: UserId,
    service: Serving,
    kind: Literal["credits", "skill", "xp"] | None = None,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
    limit: Limit = PAGE,
) -> Entries:
    """Page through the user's ledger in the order it was recorded. A cursor stays good while more is recorded."""
    after = After() if cursor is None else _after(cursor)
    found = await service.read(lambda sql: fetch_entries(sql, user_id, kind=kind, after=after, limit=limit + 1))
    if found is None:
        raise no_such(f"user {user_id}")
    page = [Entry.model_validate(entry._asdict()) for entry in found[:limit]]
    return Entries(entries=page, next=_cursor(page[-1]) if len(found) > limit else None)


async def progress(user_id: UserId, service: Serving) -> Progress:
    """Tell level, XP, sessions, hours and license in every specialization of the user."""
    found = await service.read(lambda cursor: fetch_standings(cursor, user_id))
    if found is None:
        raise no_such(f"user {user_id}")
    return Progress(user_id=user_id, specializations=[Standing(**standing._asdict()) for standing in found])


async def story(user_id: UserId, service: Serving, after: AfterId = 0, limit: Limit = PAGE) -> Story:
    """Tell how the user's rewards came about: receipts in their order, each with the entries it caused."""
    found = await service.read(lambda cursor: fetch_story(cursor, user_id, after=after, limit=limit))
    if found is None:
        raise no_such(f"user {user_id}")
    return Story(**found._asdict())


async def explanation(entry: Named, service: Serving) -> Explanation:
    """Explain one entry or event: the receipt that caused it, the ruleset, and what came before and after."""
    found = await service.read(lambda cursor: explain_from_ledger(cursor, entry))
    if found is None:
        raise no_such("such entry or event")
    return Explanation(**found)


def _cursor(entry: Entry) -> str:
    return urlsafe_b64encode(f"{entry.seq}.{entry.kind}.{entry.id}".encode()).decode().rstrip("=")


def _after(cursor: str) -> After:
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None or max(int(match[1]), int(match[3])) > MAX_ID:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_CURSOR", "cursor: not one of ours")
    return After(int(match[1]), match[2], int(match[3]))
