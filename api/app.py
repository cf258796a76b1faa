"""The HTTP application: its routes, what surrounds them, and its document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from api.auth import authorise
from api.console.app import create_console, go_to_console
from api.middleware import Surroundings
from api.openapi import document
from api.problems import add_problem_handlers, answer_problem
from api.roles import ACCESS, CONSOLE
from api.routes import admin_sync, alerts, dead_letters, events, health, level_commands, operations, transfers, users
from api.service import Service
from schemas.settings import Settings

ROUTES: Final = (health, events, transfers, level_commands, users, alerts, dead_letters, operations, admin_sync)


def create_app(settings: Settings) -> FastAPI:
    """Make the application; nothing is connected before it starts."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.outlet.start()
        try:
            yield
        finally:
            service.close()

    app = FastAPI(
        title="Laurels",
        version=service.version,
        summary="The exactly-once reward ledger.",
        lifespan=lifespan,
        dependencies=[Depends(authorise)],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    add_problem_handlers(app, answer_problem)
    app.add_middleware(Surroundings, telemetry=service.telemetry)
    for routes in ROUTES:
        routes.add_routes(app)
    for path in ("/", CONSOLE):
        app.get(path, include_in_schema=False)(go_to_console)
    console = create_console(service)
    app.mount(CONSOLE, console)
    refuse_unlisted(app)
    refuse_unlisted(console, CONSOLE)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def refuse_unlisted(app: FastAPI, mounted_at: str = "") -> None:
    """A route that `ACCESS` does not list is a mistake: nobody has said who may use it."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                path = mounted_at + route.path
                if (method, path) not in ACCESS:
                    raise LookupError(f"{method} {path} is not in api.roles.ACCESS")
