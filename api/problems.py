"""Errors as `application/problem+json` with codes that stay the same: a client goes by `code`, a person by `detail`."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import psycopg2
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec import json
from starlette.exceptions import HTTPException

from api.pool import Busy
from schemas.errors import DatabaseUnavailable, MustStop
from sinks.database import NOT_MIGRATED, Verdict, classify

MEDIA_TYPE: Final = "application/problem+json"

log = structlog.get_logger()


class Problem(Exception):
    """What the caller is answered instead of what was asked for. `more` are further members of the document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def document(self) -> dict[str, object]:
        """What is said of it."""
        return {
            "type": f"urn:laurels:problem:{self.code.lower().replace('_', '-')}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": str(self),
            **self.more,
        }

    def response(self) -> Response:
        """The document, sent."""
        return Response(json.encode(self.document()), self.status, self.headers, MEDIA_TYPE)


def no_such(what: str) -> Problem:
    """What is answered for a thing that is not there, to someone who may know that."""
    return Problem(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"there is no {what}")


def unavailable(detail: str) -> Problem:
    """What is answered while something that we depend on cannot serve: trying again later is safe."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", detail, headers={"Retry-After": "2"})


def not_migrated() -> Problem:
    """What is answered while the database is empty or of an earlier release: once it is migrated, trying again is safe."""
    return unavailable("the database is not migrated: run `laurels migrate`")


def unauthenticated() -> Problem:
    """What is answered to a stranger."""
    detail = "a bearer token is needed that is neither revoked nor expired"
    return Problem(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(role: str) -> Problem:
    """What is answered to a caller whose own role is a lesser one."""
    return Problem(HTTPStatus.FORBIDDEN, "FORBIDDEN", f"this takes the role {role}")


def slow_down(wait_seconds: float) -> Problem:
    """What is answered to a caller who asks too often."""
    retry_after = {"Retry-After": str(int(wait_seconds) + 1)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "slow down", headers=retry_after)


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """What is answered where parameters are not as they must be: `where` each is, and `what` is wrong with it."""
    detail = "; ".join(f"{one['where']}: {one['what']}" for one in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_REQUEST", detail, more={"errors": errors})


def late() -> Problem:
    """What is answered when the time of a request is over."""
    return Problem(HTTPStatus.GATEWAY_TIMEOUT, "TIMED_OUT", "no answer in time; what was asked may be done")


def unforeseen() -> Problem:
    """What is answered where the fault is ours."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "something unforeseen went wrong")


FORESEEN: Final = (Problem, RequestValidationError, HTTPException, psycopg2.Error, MustStop, Busy)


def add_problem_handlers(app: FastAPI, answer: Callable[[Request, Problem], Response]) -> None:
    """Whatever goes wrong in `app` is a problem, answered by `answer`."""

    def handle(request: Request, error: Exception) -> Response:
        return answer(request, _problem_of(request, error))

    for kind in (*FORESEEN, Exception):
        app.exception_handler(kind)(handle)


def answer_problem(_request: Request, problem: Problem) -> Response:
    """Answer with the problem's document."""
    return problem.response()


def _problem_of(request: Request, error: Exception) -> Problem:
    path = request.url.path
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return invalid(
                [{"where": ".".join(map(str, one["loc"])), "what": str(one["msg"])} for one in error.errors()]
            )
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Problem(status, status.name, error.detail, headers=error.headers)
        case psycopg2.Error() if classify(error) is Verdict.RETRY:
            log.warning("the database cannot serve", path=path, error=str(error))
            return unavailable("the database cannot serve just now")
        case DatabaseUnavailable() | Busy():
            log.warning("cannot serve", path=path, error=str(error))
            return unavailable("cannot serve just now: try again")
    # The ledger says what it met as the cause of its own error.
    if isinstance(error, NOT_MIGRATED) or isinstance(error.__cause__, NOT_MIGRATED):
        log.error("the database is not migrated", path=path, error=str(error))
        return not_migrated()
    log.error("a request failed", path=path, error=f"{type(error).__name__}: {error}", exc_info=error)
    return unforeseen()


SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "description": "What went wrong. `code` is stable; some codes bring further members.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:laurels:problem:insufficient-funds"]},
        "title": {"type": "string", "examples": ["Unprocessable Entity"]},
        "status": {"type": "integer", "minimum": 400, "maximum": 599, "examples": [422]},
        "code": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$", "examples": ["INSUFFICIENT_FUNDS"]},
        "detail": {"type": "string"},
    },
}
