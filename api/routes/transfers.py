"""Credit transfers at once, by the ledger transaction that the topic's transfers take."""

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from api.auth import CalledBy
from api.bodies import JSON, checked, read_json, refused
from api.models import Transfer
from api.openapi import answer, event_schema, problems
from api.problems import Problem
from api.service import Serving
from schemas.cloudevents import rfc3339
from schemas.events import CREDIT_TRANSFERS, CreditTransfer
from schemas.rewards import Grant, Refused
from sinks.audit import AuditEntry
from sinks.decided import fetch_transfer
from streams.direct import apply_at_once

KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
EXAMPLE: Final = {"sender_id": 5, "receiver_id": 7, "amount": 25, "memo": "thanks"}
EXAMPLE_KEY: Final = "rent-2026-11"
MADE: Final = Transfer.model_validate(
    {
        **EXAMPLE,
        "idempotency_key": EXAMPLE_KEY,
        "status": "COMPLETED",
        "receipt_seq": 812,
        "occurred_at": "2026-11-01T08:00:00.000000Z",
        "recorded_at": "2026-11-01T08:00:00.004211Z",
    }
)
"""What is answered to the example."""


def add_routes(app: FastAPI) -> None:
    """Add them."""
    app.post(
        "/api/v1/transfers",
        status_code=HTTPStatus.CREATED,
        response_model=Transfer,
        responses=answer(HTTPStatus.CREATED, MADE, "It was made just now; or before, with `Idempotent-Replayed`.")
        | problems(
            408,
            413,
            415,
            _duplicate(MADE),
            _uncovered(MADE.model_copy(update={"status": "REJECTED"})),
            _reused(EXAMPLE_KEY),
            refused(Refused("invalid_event", "amount: must be at least 1, not 0")),
        ),
        openapi_extra={"requestBody": _body(), "parameters": _headers()},
    )(transfer)


async def transfer(request: Request, response: Response, service: Serving, caller: CalledBy) -> Transfer:
    """Give credits from one user to another, once per sender and `Idempotency-Key`. Keys never expire.

    The same key with the same receiver, amount and memo again is answered 409 `DUPLICATE_TRANSFER` with the original
    in `transfer`, or with `Prefer: return=replay` as it was answered first. With anything else it is answered 422
    `IDEMPOTENCY_KEY_REUSED`. A transfer that was not covered is answered 422 `INSUFFICIENT_FUNDS`, every time.
    """
    key = _key(request)
    members = await read_json(request)
    members |= {"idempotency_key": key, "occurred_at": rfc3339(datetime.now(UTC))}
    order = checked(CREDIT_TRANSFERS, members, frozenset())
    assert isinstance(order, CreditTransfer)
    told = {"receiver_id": order.receiver_id, "amount": order.amount}
    audit = AuditEntry(caller.actor, "transfers.create", f"{order.sender_id}-{key}", told)
    decision = await service.ledgers.run(lambda ledger: apply_at_once(ledger, order, "http", audit=audit))
    if isinstance(decision, Refused):
        raise _refused(decision, key)
    row = await service.read(lambda cursor: fetch_transfer(cursor, order.sender_id, key))
    assert row is not None
    first = Transfer.model_validate(row)
    if first.status == "REJECTED":
        raise _uncovered(first)
    if isinstance(decision, Grant):
        return first
    if "return=replay" not in request.headers.get("prefer", "").replace(" ", "").lower().split(","):
        raise _duplicate(first)
    response.headers["Idempotent-Replayed"] = "true"
    response.headers["Preference-Applied"] = "return=replay"
    return first


def _key(request: Request) -> str:
    keys = request.headers.getlist("idempotency-key")
    if not keys or not keys[0]:
        raise Problem(HTTPStatus.BAD_REQUEST, "IDEMPOTENCY_KEY_MISSING", "the header Idempotency-Key is needed")
    if len(keys) > 1 or KEY.fullmatch(keys[0]) is None:
        detail = "Idempotency-Key is one of 1 to 128 printable ASCII characters without spaces"
        raise Problem(HTTPStatus.BAD_REQUEST, "IDEMPOTENCY_KEY_INVALID", detail)
    return keys[0]


def _refused(refusal: Refused, key: str) -> Problem:
    return _reused(key) if refusal.reason == "conflict" else _unprocessable(refusal.reason.upper(), refusal.detail)


def _reused(key: str) -> Problem:
    return _unprocessable("IDEMPOTENCY_KEY_REUSED", f"the key {key} stands for another transfer of this sender")


def _uncovered(first: Transfer) -> Problem:
    detail = f"user {first.sender_id} could not cover {first.amount} credits; that is final for this key"
    return _unprocessable("INSUFFICIENT_FUNDS", detail, transfer=first.model_dump(mode="json"))


def _duplicate(first: Transfer) -> Problem:
    detail = "this transfer was made before; `transfer` is what came of it"
    return Problem(HTTPStatus.CONFLICT, "DUPLICATE_TRANSFER", detail, more={"transfer": first.model_dump(mode="json")})


def _unprocessable(code: str, detail: str, **more: object) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code, detail, more=more)


def _headers() -> list[dict[str, Any]]:
    key = {"type": "string", "pattern": "^[!-~]{1,128}$", "examples": [EXAMPLE_KEY]}
    return [
        {"name": "Idempotency-Key", "in": "header", "required": True, "schema": key},
        {"name": "Prefer", "in": "header", "required": False, "schema": {"type": "string", "enum": ["return=replay"]}},
    ]


def _body() -> dict[str, Any]:
    schema = event_schema("credit-transfer.v1", without=("idempotency_key", "occurred_at"))
    return {"required": True, "content": {JSON: {"schema": schema, "example": EXAMPLE}}}
