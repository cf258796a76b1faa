"""Level commands at once, by the ledger transaction that the topic's commands take."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from api.auth import CalledBy
from api.bodies import JSON, checked, read_json
from api.models import CommandReceipt
from api.openapi import answer, event_schema, problems
from api.problems import Problem
from api.service import Serving
from schemas.cloudevents import rfc3339
from schemas.events import LEVEL_COMMANDS, LevelCommand
from schemas.rewards import Grant, Refused
from sinks.audit import AuditEntry
from sinks.decided import fetch_receipt
from streams.direct import apply_at_once
from streams.rules import base_key

EXAMPLE: Final = {
    "command_id": "c-17",
    "user_id": 5,
    "specialization": "COACH",
    "new_level": 3,
    "advanced_by": 1,
    "reason": "passed the examination",
}
DONE: Final = CommandReceipt.model_validate(
    {
        "event_key": "command_c-17_level_5",
        "seq": 813,
        "user_id": 5,
        "grant": {"levels": [["COACH", 2, 3]]},
        "occurred_at": "2026-11-01T08:00:00.000000Z",
        "recorded_at": "2026-11-01T08:00:00.004211Z",
    }
)
"""What is answered to the example."""


def add_routes(app: FastAPI) -> None:
    """Add them."""
    path = "/api/v1/level-commands"
    again: dict[int | str, dict[str, Any]] = {
        200: {"model": CommandReceipt, "description": "The command was carried out before; nothing changed."}
    }
    app.post(
        path,
        status_code=HTTPStatus.CREATED,
        response_model=CommandReceipt,
        responses=again | answer(HTTPStatus.CREATED, DONE, "It was carried out.") | problems(408, 409, 413, 415),
        openapi_extra={"requestBody": _body()},
    )(command)


async def command(request: Request, response: Response, service: Serving, caller: CalledBy) -> CommandReceipt:
    """Move a user's level, XP, sessions or hours, once per user and `command_id`; progress and license together.

    The same command again is answered 200 with the original, another one with its id 409 `CONFLICT`. A refused one
    (422 `EMPTY_COMMAND`, `INVALID_LEVEL`, `NEGATIVE_TOTAL`) is refused for good. `occurred_at` defaults to now.
    """
    members = await read_json(request)
    members.setdefault("occurred_at", rfc3339(datetime.now(UTC)))
    order = checked(LEVEL_COMMANDS, members, await service.specializations())
    assert isinstance(order, LevelCommand)
    key = base_key(order)
    told = {"specialization": order.specialization, "new_level": order.new_level, "reason": order.reason}
    audit = AuditEntry(caller.actor, "level_commands.create", key, told)
    decision = await service.ledgers.run(lambda ledger: apply_at_once(ledger, order, "http", audit=audit))
    if isinstance(decision, Refused):
        raise _refused(decision.reason, decision.detail)
    row = await service.read(lambda cursor: fetch_receipt(cursor, key))
    assert row is not None
    receipt = CommandReceipt.model_validate(row)
    if "refused" in receipt.grant:
        raise _refused(receipt.grant["refused"], "this command was refused before, which is final")
    if not isinstance(decision, Grant):
        response.status_code = HTTPStatus.OK
    return receipt


def _refused(reason: str, detail: str) -> Problem:
    status = HTTPStatus.CONFLICT if reason == "conflict" else HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, reason.upper(), detail)


def _body() -> dict[str, Any]:
    schema = event_schema("level-command.v1", optional=("occurred_at",))
    return {"required": True, "content": {JSON: {"schema": schema, "example": EXAMPLE}}}
