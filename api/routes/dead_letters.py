"""Dead letters: to read, to retry, to give up."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from psycopg2.extensions import cursor as Cursor

from api.auth import CalledBy, Caller
from api.bodies import JSON, read_json
from api.limits import PAGE, AfterId, Limit
from api.models import DeadLetter, DeadLetters, DeadLetterSummary, Dropped, Retried
from api.openapi import problems
from api.problems import Problem, no_such
from api.service import Service, Serving
from schemas.events import MAX_ID
from sinks.dead_letters import Filter, Status, fetch_dead_letters, find_dead_letters, mark_dropped
from sinks.dead_letters_told import summary, whole
from streams.retry import NotRetried, retry_dead_letter

MOST_REASON = 500

LetterId = Annotated[int, Path(ge=1, le=MAX_ID, alias="id")]
UserId = Annotated[int, Query(ge=1, le=MAX_ID)]
Text = Annotated[str, Query(max_length=255, pattern=r"^[^\x00]*$")]


def add_routes(app: FastAPI) -> None:
    """Add them."""
    path = "/api/v1/dead-letters"
    app.get(path)(dead_letters)
    app.get(f"{path}/{{id}}", responses=problems(404))(dead_letter)
    app.post(f"{path}/{{id}}/retry", responses=problems(404, 409))(retry)
    app.post(
        f"{path}/{{id}}/drop",
        responses=problems(404, 408, 409, 413, 415),
        openapi_extra={"requestBody": _body()},
    )(drop)


async def dead_letters(
    service: Serving,
    topic: Text | None = None,
    reason: Text | None = None,
    status: Status | None = None,
    user_id: UserId | None = None,
    after: AfterId = 0,
    limit: Limit = PAGE,
) -> DeadLetters:
    """List dead letters, oldest first."""
    wanted = Filter(topic=topic, reason=reason, status=status, user_id=user_id)
    found = await service.read(lambda cursor: find_dead_letters(cursor, wanted, after=after, limit=limit + 1))
    page = [DeadLetterSummary.model_validate(summary(letter)) for letter in found[:limit]]
    return DeadLetters(dead_letters=page, next=page[-1].id if len(found) > limit else None)


async def dead_letter(id_: LetterId, service: Serving) -> DeadLetter:
    """Show one dead letter whole: its bytes, headers, coordinates, reason and history."""
    found = await service.read(lambda cursor: fetch_dead_letters(cursor, [id_]))
    if id_ not in found:
        raise no_such(f"dead letter {id_}")
    return DeadLetter.model_validate(whole(found[id_]))


async def retry(id_: LetterId, service: Serving, caller: CalledBy) -> Retried:
    """Record it if it can be recorded by now, by the same path and keys: it can never pay twice."""
    if id_ not in await service.read(lambda cursor: fetch_dead_letters(cursor, [id_])):
        raise no_such(f"dead letter {id_}")
    try:
        retried = await service.ledgers.run(lambda _: retry_dead_letter(service.connect, id_, actor=caller.actor))
    except NotRetried as error:
        raise Problem(HTTPStatus.CONFLICT, "NOT_OPEN", str(error)) from error
    return Retried(**retried._asdict())


async def drop(id_: LetterId, request: Request, service: Serving, caller: CalledBy) -> Dropped:
    """Give it up, for a reason that is kept with it. It stays on record."""
    return await drop_for(id_, (await read_json(request)).get("reason"), service, caller)


async def drop_for(id_: int, because: object, service: Service, caller: Caller) -> Dropped:
    """Give it up, if that is a reason."""
    if not isinstance(because, str) or not because.strip() or "\0" in because or len(because) > MOST_REASON:
        detail = f"reason: needed, text of up to {MOST_REASON} characters that says something"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_REQUEST", detail)

    def mark(cursor: Cursor) -> bool | None:
        letter = fetch_dead_letters(cursor, [id_]).get(id_)
        return None if letter is None else mark_dropped(cursor, letter, actor=caller.actor, reason=because)

    dropped = await service.write(mark)
    if dropped is None:
        raise no_such(f"dead letter {id_}")
    if not dropped:
        raise Problem(HTTPStatus.CONFLICT, "NOT_OPEN", f"dead letter {id_} is not open any more")
    return Dropped(id=id_)


def _body() -> dict[str, Any]:
    reason = {"type": "string", "minLength": 1, "maxLength": MOST_REASON, "pattern": r"\S"}
    schema = {"type": "object", "required": ["reason"], "properties": {"reason": reason}}
    return {"required": True, "content": {JSON: {"schema": schema, "example": {"reason": "sent by a broken gateway"}}}}
