"""Alerts: those that fire, one of them with what to do about it, acknowledged, silenced."""

from typing import Annotated, Final

from fastapi import FastAPI, Query, Request, Response
from pydantic import BeforeValidator

from api.auth import CalledBy
from api.bodies import as_model
from api.console.rendering import show
from api.console.runbook import runbook
from api.console.session import Form, to
from api.limits import PAGE
from api.roles import CONSOLE
from api.routes import alerts as api
from api.service import Serving
from schemas.alerts import ALERT_KINDS
from schemas.messages import AlertStatus
from sinks.alert_desk import list_silences

SENTENCES: Final = {"acknowledged": "Acknowledged: it is not repeated until it fires anew.", "silenced": "Silenced."}

Status = Annotated[AlertStatus | None, BeforeValidator(lambda given: given or None)]
Text = Annotated[api.Text | None, BeforeValidator(lambda given: given or None)]
Told = Annotated[str, Query(max_length=20)]


def add_pages(console: FastAPI) -> None:
    """Add them."""
    console.get("/alerts")(alerts)
    console.get("/alerts/{fingerprint}")(alert)
    console.post("/alerts/{fingerprint}/ack")(ack)
    console.post("/alerts/{fingerprint}/silence")(silence)


async def alerts(
    request: Request,
    service: Serving,
    status: Annotated[Status, Query()] = "firing",
    kind: Annotated[Text, Query()] = None,
    subject: Annotated[Text, Query()] = None,
) -> Response:
    """List alerts, the worst first."""
    found = await api.alerts(service, status, kind, subject, PAGE)
    silences = await service.read(list_silences)
    wanted = {"status": status, "kind": kind, "subject": subject}
    return show(
        request,
        "alerts.html",
        alerts=found.alerts,
        wanted=wanted,
        kinds=list(ALERT_KINDS),
        silences=silences,
        most=PAGE,
    )


async def alert(request: Request, fingerprint: api.Fingerprint, service: Serving, told: Told = "") -> Response:
    """Show one alert with its runbook."""
    found = await api.alert(fingerprint, service)
    blocks = runbook(found.kind)
    return show(request, "alert.html", alert=found, runbook=blocks, told=SENTENCES.get(told))


async def ack(fingerprint: api.Fingerprint, service: Serving, caller: CalledBy) -> Response:
    """Say that somebody is at it."""
    await api.ack(fingerprint, service, caller)
    return to(f"{CONSOLE}/alerts/{fingerprint}?told=acknowledged")


async def silence(fingerprint: api.Fingerprint, form: Form, service: Serving, caller: CalledBy) -> Response:
    """Announce nothing of it for a while."""
    order = as_model({name: form[name] for name in ("for", "reason", "scope") if name in form}, api.SilenceOrder)
    await api.silence_as(fingerprint, order, service, caller)
    return to(f"{CONSOLE}/alerts/{fingerprint}?told=silenced")
