"""Publishing: events checked as the readers would, answered once the brokers have them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from msgspec import json

from api.auth import CalledBy, Caller
from api.bodies import JSON, JSON_LINES, key_of, media_type, refused, unsupported
from api.limits import BATCH_BYTES, BATCH_LINES, read_body
from api.models import LineResult, Published, PublishedBatch
from api.openapi import answer, event_schemas, problems
from api.outlet import Outgoing
from api.problems import Problem, unavailable
from api.service import Service, Serving
from schemas.cloudevents import message_id
from schemas.events import MAX_EVENT_BYTES
from schemas.parse import check_delivery, read_event
from schemas.rewards import Refused
from sinks.audit import AuditEntry, write_audit

Topic = Literal[
    "tournament-results", "session-attendance", "level-commands", "credit-transfers", "tournament-rosters"
]  # fmt: skip

EXAMPLE: Final = {
    "event_id": "r-227-5",
    "user_id": 5,
    "tournament_id": 227,
    "status": "final",
    "placement": 1,
    "participants": 16,
    "skills": [{"name": "passing", "performance": 80}],
    "occurred_at": "2026-05-01T10:00:00Z",
}
PUBLISHED: Final = Published(topic="tournament-results", key="5", id="r-227-5")
"""What is answered to the example."""


def add_routes(app: FastAPI) -> None:
    """Add them."""
    path = "/api/v1/events/{topic}"
    more: dict[int | str, dict[str, Any]] = {
        207: {"model": PublishedBatch, "description": "Not every line was published."}
    }
    app.post(
        path,
        status_code=HTTPStatus.ACCEPTED,
        response_model=Published | PublishedBatch,
        responses=more | answer(HTTPStatus.ACCEPTED, PUBLISHED, "It is stored.") | problems(408, 413, 415),
        openapi_extra={"requestBody": _body()},
    )(publish)


async def publish(
    topic: Topic, request: Request, response: Response, service: Serving, caller: CalledBy
) -> Published | PublishedBatch:
    """Publish one event (`application/json`) or a batch, one a line (`application/jsonl`, up to 1,000 lines).

    Answered once the brokers have acknowledged: what is answered as published is stored, and a worker records it. To
    publish again is safe. A batch publishes every line that is good: 207 says that some were not, 422 `ALL_REFUSED`
    that none was.
    """
    kind = media_type(request)
    if kind == JSON:
        return await _publish_one(topic, await read_body(request, MAX_EVENT_BYTES), service, caller)
    if kind in JSON_LINES:
        batch = await _publish_lines(topic, await read_body(request, BATCH_BYTES), service, caller)
        if batch.refused or batch.undelivered:
            response.status_code = HTTPStatus.MULTI_STATUS
        return batch
    raise unsupported(JSON, JSON_LINES[0])


async def _publish_one(topic: Topic, value: bytes, service: Service, caller: Caller) -> Published:
    event = _read(topic, value, await service.specializations(), caller)
    if isinstance(event, Refused):
        raise refused(event)
    (reason,) = await _send(topic, [event], service, caller)
    if reason is not None:
        raise unavailable(f"the brokers did not confirm it: {reason}; publish it again")
    return Published(topic=topic, key=key_of(event.event).decode(), id=message_id(event.event))


async def _publish_lines(topic: Topic, body: bytes, service: Service, caller: Caller) -> PublishedBatch:
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "EMPTY_BATCH", "there is no line")
    if len(lines) > BATCH_LINES:
        detail = f"{len(lines)} lines: more than {BATCH_LINES}"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TOO_LARGE", detail)
    known = await service.specializations()
    read = [(number, _read(topic, line.strip(), known, caller)) for number, line in lines]
    good = [(number, event) for number, event in read if not isinstance(event, Refused)]
    reasons = await _send(topic, [event for _, event in good], service, caller) if good else []
    results = [
        LineResult(line=number, outcome="refused", code=refusal.reason.upper(), detail=refusal.detail)
        for number, refusal in read
        if isinstance(refusal, Refused)
    ]
    for (number, _), reason in zip(good, reasons, strict=True):
        if reason is None:
            results.append(LineResult(line=number, outcome="published"))
        else:
            results.append(LineResult(line=number, outcome="undelivered", code="UNAVAILABLE", detail=reason))
    results.sort(key=lambda result: result.line)
    if not good:
        told = [result.model_dump() for result in results]
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "ALL_REFUSED", "no line can be published", more={"results": told}
        )
    counts = {
        name: sum(result.outcome == name for result in results) for name in ("published", "refused", "undelivered")
    }
    return PublishedBatch(results=results, **counts)


def _read(topic: str, value: bytes, specializations: frozenset[str], caller: Caller) -> Outgoing | Refused:
    event = read_event(topic, value, specializations)
    if isinstance(event, Refused):
        return event
    late = check_delivery(event, key_of(event), int(datetime.now(UTC).timestamp() * 1000))
    return late or Outgoing(topic, event, value, f"/laurels/http/{caller.id}")


async def _send(topic: str, events: Sequence[Outgoing], service: Service, caller: Caller) -> list[str | None]:
    """Publish them; who did so is on record first, so that nothing is ever published by nobody."""
    ids = [message_id(event.event) for event in events[:10]]
    entry = AuditEntry(caller.actor, "events.publish", topic, {"count": len(events), "first": ids})
    await service.write(lambda cursor: write_audit(cursor, entry))
    return await service.outlet.send(events)


def _body() -> dict[str, Any]:
    one = {"oneOf": list(event_schemas().values()), "description": "An event of the topic."}
    return {
        "required": True,
        "content": {
            JSON: {"schema": one, "example": EXAMPLE},
            JSON_LINES[0]: {"schema": {"type": "string"}, "example": json.encode(EXAMPLE).decode() + "\n"},
        },
    }
