"""Whether this process lives, whether it can serve, what it measures, which version it is."""

import asyncio
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import psycopg2
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg2.extensions import cursor as Cursor

from api.models import Check, Readiness, Version
from api.pool import Busy
from api.problems import not_migrated, unavailable
from api.service import Service, Serving
from sinks.database import NOT_MIGRATED
from sinks.migration import revisions

_MAY_LOOK: Final = "SELECT has_table_privilege('alembic_version', 'SELECT')"
_REVISION: Final = "SELECT version_num FROM alembic_version"
_ACTIVE: Final = "SELECT hash FROM rulesets WHERE active"


def add_routes(app: FastAPI) -> None:
    """Add them."""
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    app.get("/livez", response_class=Response, responses=plain)(livez)
    app.get("/readyz", responses={503: {"model": Readiness}})(readyz)
    app.get("/metrics", response_class=Response, responses=plain)(metrics)
    app.get("/version")(version)


async def livez(service: Serving) -> Response:
    """Whether this process gets on with its work. Asks nobody else, so a restart is what helps if it does not."""
    if not service.outlet.alive():
        raise unavailable("publishing hangs")
    return Response("ok\n", media_type="text/plain")


async def readyz(service: Serving, response: Response, *, verbose: str | None = None) -> Readiness:
    """Whether requests can be served: Postgres and the brokers answer. `?verbose` says what each answers."""
    checks = await asyncio.gather(_postgres(service), _brokers(service))
    ready = all(check.ok for check in checks)
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(ready=ready, checks=None if verbose is None else list(checks))


async def metrics(service: Serving) -> Response:
    """Give the metrics in Prometheus's form."""
    return Response(generate_latest(service.telemetry.registry), media_type=CONTENT_TYPE_LATEST)


async def version(service: Serving) -> Version:
    """Tell which version serves."""
    return Version(version=service.version)


async def _postgres(service: Service) -> Check:
    try:
        ruleset = await service.read(_fetch_ruleset)
    except NOT_MIGRATED:
        ruleset = None
    except (psycopg2.Error, Busy) as error:
        return Check(name="postgres", ok=False, detail=type(error).__name__)
    if ruleset is None:
        return Check(name="postgres", ok=False, detail=str(not_migrated()))
    return Check(name="postgres", ok=True, detail=f"ruleset {ruleset}")


async def _brokers(service: Service) -> Check:
    try:
        detail = await asyncio.to_thread(service.ask_brokers)
    except ConnectionError as error:
        return Check(name="kafka", ok=False, detail=str(error))
    return Check(name="kafka", ok=True, detail=detail)


def _fetch_ruleset(cursor: Cursor) -> str | None:
    """The active ruleset; None where the database is behind."""
    if _is_behind(cursor):
        return None
    cursor.execute(_ACTIVE)
    return ", ".join(row[0] for row in cursor.fetchall()) or "none is active"


def _is_behind(cursor: Cursor) -> bool:
    """Whether the database is of a release before ours, as far as we may look: the API's own role may not."""
    cursor.execute(_MAY_LOOK)
    if cursor.fetchone() != (True,):
        return False
    cursor.execute(_REVISION)
    found = cursor.fetchone()
    return found is None or found[0] in _earlier()


@cache
def _earlier() -> frozenset[str]:
    """Every revision but the newest. One that is not among them is a later release's, on which we can serve."""
    return frozenset(revisions()[:-1])
