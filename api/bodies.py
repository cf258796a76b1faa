"""From a request's body to a checked event, with the readers' own rules and words."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.limits import read_body
from api.problems import Problem
from schemas.checking import Invalid, Undecodable, check_event, read_object
from schemas.events import EVENT_TOPICS, Event, event_subject
from schemas.parse import breach_between_fields, check_delivery
from schemas.rewards import Refused

M = TypeVar("M", bound=BaseModel)

JSON: Final = "application/json"
JSON_LINES: Final = ("application/jsonl", "application/x-ndjson")
BAD_REASONS: Final = {"undecodable"}
"""Reasons for which the request itself is bad, not what it says."""


def media_type(request: Request) -> str:
    """What the body is said to be."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request) -> dict[str, Any]:
    """Read the body as one JSON object."""
    if media_type(request) != JSON:
        raise unsupported(JSON)
    try:
        return read_object(await read_body(request))
    except Undecodable as error:
        raise undecodable(str(error)) from error


async def read_model(request: Request, kind: type[M], *, optional: bool = False) -> M:
    """Read the body as a `kind`; without one, where it is `optional`, as its defaults."""
    bare = "content-type" not in request.headers and request.headers.get("content-length", "0") == "0"
    return as_model({} if optional and bare else await read_json(request), kind)


def as_model(members: dict[str, Any], kind: type[M]) -> M:
    """The members as a `kind`; answers 422 where they are none."""
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        detail = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_REQUEST", detail) from error


def checked(topic: str, members: dict[str, Any], specializations: frozenset[str]) -> Event:
    """The event of `topic` that `members` say; answers 422 with the reason that its dead letter would have."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    version = members.get("version", 1)
    if type(version) is not int or version != 1:
        raise refused(Refused("unknown_version", "version: is not 1"))
    try:
        event = check_event(EVENT_TOPICS[topic], members)
    except Invalid as error:
        raise refused(Refused("invalid_event", str(error))) from error
    breach = breach_between_fields(event, specializations)
    if breach is not None:
        raise refused(Refused("invalid_event", breach))
    late = check_delivery(event, key_of(event), now_ms)
    if late is not None:
        raise refused(late)
    return event


def key_of(event: Event) -> bytes:
    """The key by which `event` is published."""
    return b"%d" % event_subject(event)


def refused(refusal: Refused) -> Problem:
    """The problem that says why an event is refused; `code` is the dead letter's reason in capitals."""
    bad = refusal.reason in BAD_REASONS
    status = HTTPStatus.BAD_REQUEST if bad else HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, refusal.reason.upper(), refusal.detail)


def undecodable(detail: str) -> Problem:
    """The problem of a body that is no JSON object."""
    return Problem(HTTPStatus.BAD_REQUEST, "UNDECODABLE", detail)


def unsupported(*wanted: str) -> Problem:
    """The problem of a body in another form."""
    detail = f"the body must be {' or '.join(wanted)}"
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail)
