"""What the API measures about itself."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from schemas.metrics import HTTP_METRICS

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpTelemetry:
    """The metrics of one API process, in a registry of its own. Labels are routes, never paths."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "laurels_http_requests_total",
            HTTP_METRICS["laurels_http_requests_total"],
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "laurels_http_request_seconds",
            HTTP_METRICS["laurels_http_request_seconds"],
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
