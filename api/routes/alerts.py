"""Alerts, to read."""

from typing import Annotated

from fastapi import FastAPI, Path, Query

from api.limits import PAGE, Limit
from api.models import Alert, Alerts
from api.openapi import problems
from api.problems import no_such
from api.service import Serving
from schemas.messages import AlertStatus
from sinks.alert_desk import AlertFilter, fetch_alert, list_alerts

Text = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Fingerprint = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


def add_routes(app: FastAPI) -> None:
    """Add them."""
    app.get("/api/v1/alerts")(alerts)
    app.get("/api/v1/alerts/{fingerprint}", responses=problems(404))(alert)


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
