"""`laurels api`: serves HTTP until SIGTERM."""

import typer
import uvicorn

from api.app import create_app
from schemas.settings import load_settings
from streams.outage import configure_service_logging

MOST_CONNECTIONS = 256
STOP_SECONDS = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("api")(api)


def api() -> None:
    """Serve HTTP, until SIGTERM: publishing, transfers, level commands, reads, administration, and the console.

    Where: LAURELS_HTTP_HOST and LAURELS_HTTP_PORT. The document is at /openapi.json, the console at /console/. Whoever
    calls needs a token: see `laurels tokens create`. Example: LAURELS_HTTP_PORT=8080 laurels api
    """
    settings = load_settings()
    configure_service_logging(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
