"""A worker's small HTTP face: `/metrics`, `/livez` and `/readyz`.

Served from a thread of its own: an event loop that hangs is what it must be able to tell about.
"""

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.telemetry import Telemetry

PLAIN: Final = "text/plain; charset=utf-8"


class Monitor:
    """Serves what `telemetry` knows on `host`:`port`, where port 0 means any that is free."""

    def __init__(self, telemetry: Telemetry, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            """Answers from this worker's telemetry."""

            def do_GET(self) -> None:
                status, kind, body = _answer(telemetry, self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing: probes come every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def _answer(telemetry: Telemetry, path: str) -> tuple[HTTPStatus, str, bytes]:
    match path.partition("?")[0]:
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(telemetry.registry)
        case "/livez":
            return _verdict(telemetry.alive())
        case "/readyz":
            return _verdict(telemetry.ready())
        case _:
            return HTTPStatus.NOT_FOUND, PLAIN, b"not found\n"


def _verdict(good: bool) -> tuple[HTTPStatus, str, bytes]:  # noqa: FBT001
    return (HTTPStatus.OK, PLAIN, b"ok\n") if good else (HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, b"no\n")
