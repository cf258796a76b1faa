"""Around every request: a bound on its time, a measurement, and headers that hold for all answers."""

import asyncio
import time
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import late
from api.telemetry import HttpTelemetry

REQUEST_SECONDS: Final = 30.0
_METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Surroundings:
    """Bounds and measures what it wraps."""

    def __init__(self, app: ASGIApp, telemetry: HttpTelemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, in time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._app(scope, receive, answer)
        except TimeoutError:
            if not status:
                await late().response()(scope, receive, answer)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = scope.get("route")
            name = scope.get("root_path", "") + route.path if isinstance(route, Route) else "none"
            self._telemetry.answered(method, name, status or 500, time.monotonic() - began)
