"""Alerts: to read, to acknowledge, to silence."""

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Path, Query, Request
from psycopg2.extensions import cursor as Cursor
from pydantic import BaseModel, ConfigDict, Field

from api.auth import CalledBy, Caller
from api.bodies import JSON, read_model
from api.limits import PAGE, Limit
from api.models import Alert, Alerts, Silence
from api.openapi import problems
from api.problems import Problem, no_such
from api.service import Service, Serving
from schemas.messages import AlertStatus
from sinks.alert_desk import PERIOD, AlertFilter, Row, acknowledge, fetch_alert, list_alerts, parse_period
from sinks.alert_desk import silence as make_silence

Text = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Fingerprint = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["3f9c2b7a51d04e683f9c2b7a51d04e68"])]

EXAMPLE: Final = {"for": "4h", "reason": "ratings are being recomputed", "scope": "alert"}


class SilenceOrder(BaseModel):
    """Announce nothing of it `for` a while: of this alert alone, of its kind, or about its subject."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lasting: Annotated[str, Field(alias="for", pattern=f"^{PERIOD}$", description="Such as 30m, 4h or 2d.")]
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
    scope: Literal["alert", "kind", "subject"] = "alert"


def add_routes(app: FastAPI) -> None:
    """Add them."""
    path = "/api/v1/alerts"
    app.get(path)(alerts)
    app.get(f"{path}/{{fingerprint}}", responses=problems(404))(alert)
    app.post(f"{path}/{{fingerprint}}/ack", responses=problems(404, 409))(ack)
    app.post(
        f"{path}/{{fingerprint}}/silence",
        status_code=HTTPStatus.CREATED,
        responses=problems(404, 408, 413, 415),
        openapi_extra={"requestBody": _body()},
    )(silence)


async def alerts(
    service: Serving,
    status: AlertStatus | None = "firing",
    kind: Text | None = None,
    subject: Text | None = None,
    limit: Limit = PAGE,
) -> Alerts:
    """List alerts, the worst first."""
    found = await service.read(lambda cursor: list_alerts(cursor, AlertFilter(status, kind, subject), limit=limit))
    return Alerts(alerts=[Alert.model_validate(row) for row in found])


async def alert(fingerprint: Fingerprint, service: Serving) -> Alert:
    """Show one alert."""
    found = await service.read(lambda cursor: fetch_alert(cursor, fingerprint))
    if found is None:
        raise no_such("such alert")
    return Alert.model_validate(found)


async def ack(fingerprint: Fingerprint, service: Serving, caller: CalledBy) -> Alert:
    """Say that somebody is at it: no more heartbeats of this alert until it fires anew."""
    acknowledged = await service.write(lambda cursor: acknowledge(cursor, fingerprint, actor=caller.actor))
    if acknowledged is None:
        await alert(fingerprint, service)
        raise Problem(HTTPStatus.CONFLICT, "NOT_FIRING", "this alert does not fire")
    return Alert.model_validate(acknowledged)


async def silence(fingerprint: Fingerprint, request: Request, service: Serving, caller: CalledBy) -> Silence:
    """Announce nothing that fits it for a while, resolved or not. Alerts are raised and resolved as ever."""
    return await silence_as(fingerprint, await read_model(request, SilenceOrder), service, caller)


async def silence_as(fingerprint: str, order: SilenceOrder, service: Service, caller: Caller) -> Silence:
    """Make the silence that is ordered."""

    def make(cursor: Cursor) -> Row | None:
        about = fetch_alert(cursor, fingerprint)
        if about is None:
            return None
        return make_silence(
            cursor,
            kind=None if order.scope == "subject" else about["kind"],
            subject=None if order.scope == "kind" else about["subject"],
            lasting=parse_period(order.lasting),
            reason=order.reason,
            actor=caller.actor,
        )

    made = await service.write(make)
    if made is None:
        raise no_such("such alert")
    return Silence.model_validate(made)


def _body() -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": SilenceOrder.model_json_schema(), "example": EXAMPLE}}}
