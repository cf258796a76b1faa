"""The console as an application of its own, mounted beside the API."""

from fastapi import Depends, FastAPI, Response
from fastapi.responses import RedirectResponse

from api.console import alerts, dead_letters, overview, pipeline, rendering, session, users
from api.problems import add_problem_handlers
from api.roles import CONSOLE
from api.service import Service

PAGES = (session, overview, alerts, dead_letters, pipeline, users, rendering)


def create_console(service: Service) -> FastAPI:
    """Make the application; it serves with what the API serves with."""
    console = FastAPI(dependencies=[Depends(session.enter)], openapi_url=None, redirect_slashes=False)
    console.state.service = service
    add_problem_handlers(console, session.show_problem)
    for pages in PAGES:
        pages.add_pages(console)
    return console


def go_to_console() -> Response:
    """Lead whoever comes to the server with a browser to the console."""
    return RedirectResponse(f"{CONSOLE}/", 303)
