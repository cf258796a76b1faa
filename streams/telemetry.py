"""What a worker tells about itself: metrics, and whether it is alive. Counted per batch, never per event."""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from schemas.metrics import METRICS, MetricName
from sinks.batch import Recorded
from streams.tenures import Tenure

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES: Final = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000, 10_000)

STUCK_SECONDS: Final = 180.0
"""Work in hand for so long without a commit: longer than the ledger waits for an absent Postgres."""
LOOP_SECONDS: Final = 30.0
"""An event loop that has not turned for so long is stuck."""

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class Telemetry:
    """The metrics of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = self._metric(Counter, "laurels_events_total", ["outcome"])
        self._batches = self._metric(Counter, "laurels_batches_total")
        self._batch_seconds = self._metric(Histogram, "laurels_batch_seconds", buckets=SECONDS)
        self._batch_events = self._metric(Histogram, "laurels_batch_events", buckets=SIZES)
        self._lag = self._metric(Gauge, "laurels_lag_events", ["topic", "partition"])
        self._position = self._metric(Gauge, "laurels_position", ["topic", "partition"])
        self._held = self._metric(Gauge, "laurels_partitions_held")
        self._stopped = self._metric(Gauge, "laurels_partitions_stopped")
        self._rejoins = self._metric(Counter, "laurels_rejoins_total", ["reason"])
        self._retries = self._metric(Counter, "laurels_ledger_retries_total", ["sqlstate"])
        self._outbox = self._metric(Gauge, "laurels_outbox_messages")
        self._holding = self._metric(Gauge, "laurels_recording_held")
        self._metric(Gauge, "laurels_oldest_work_seconds").set_function(self.oldest_work_seconds)
        self._working_since: float | None = None
        self._turned = time.monotonic()
        self._assigned = False

    def _metric(
        self,
        kind: type[_Metric],
        name: MetricName,
        labels: Sequence[str] = (),
        **options: Any,
    ) -> _Metric:
        return kind(name, METRICS[name], labels, registry=self.registry, **options)

    def holds(self, tenures: Collection[Tenure]) -> None:
        """These partitions were claimed, and no others are held."""
        self._assigned = True
        self._lag.clear()
        self._position.clear()
        self._held.set(len(tenures))
        self._stopped.set(sum(tenure.stopped is not None for tenure in tenures))
        for tenure in tenures:
            self.lags(tenure)

    def lags(self, tenure: Tenure) -> None:
        """How far a partition is recorded, and how much of its log is left."""
        labels = (tenure.topic, str(tenure.partition))
        self._position.labels(*labels).set(tenure.recorded)
        self._lag.labels(*labels).set(max(tenure.end_offset - tenure.recorded, 0))

    def committed(self, deliveries: int, recorded: Recorded, seconds: float) -> None:
        """A batch was committed."""
        self._batches.inc()
        self._batch_seconds.observe(seconds)
        self._batch_events.observe(deliveries)
        self._events.labels("recorded").inc(recorded.recorded)
        self._events.labels("duplicate").inc(recorded.duplicates)
        self._events.labels("stale").inc(recorded.stale)
        self._events.labels("dead_letter").inc(recorded.dead_letters)
        self._working_since = time.monotonic()

    def busy(self) -> None:
        """There is work in hand from now on."""
        self._working_since = time.monotonic()

    def settled(self) -> None:
        """There is no work in hand."""
        self._working_since = None

    def turned(self) -> None:
        """The event loop still turns."""
        self._turned = time.monotonic()

    def rejoined(self, reason: str) -> None:
        """The worker left its group, to join it again."""
        self._assigned = False
        self._rejoins.labels(reason).inc()

    def retried(self, sqlstate: str) -> None:
        """The database could not serve, and the ledger tries again."""
        self._retries.labels(sqlstate).inc()

    def outbox(self, messages: int, *, held: bool) -> None:
        """How full the outbox is, and whether that holds recording."""
        self._outbox.set(messages)
        self._holding.set(held)

    def oldest_work_seconds(self) -> float:
        """For how long there has been work in hand without a commit."""
        since = self._working_since
        return 0.0 if since is None else time.monotonic() - since

    def alive(self) -> bool:
        """Whether the event loop turns and work in hand gets committed."""
        return time.monotonic() - self._turned < LOOP_SECONDS and self.oldest_work_seconds() < STUCK_SECONDS

    def ready(self) -> bool:
        """Whether the worker has joined its group and knows what it holds."""
        return self._assigned and self.alive()
