"""Every measure by its name: what it measures, and which members of the answer it brings. New rows are added here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.alerts import measure_alerts
from bench.coupling import measure_coupling_enforce_cost
from bench.errors import BenchFailed
from bench.false_alerts import measure_false_alerts
from bench.kills import measure_kills
from bench.latency import measure_latency
from bench.memory import measure_memory
from bench.preload import measure_preload
from bench.reconciliation import measure_pipeline_with_relay_and_reconciliation, measure_reconcile_cost
from bench.rivals import measure_bare, measure_naive, measure_quix
from bench.run import Run
from bench.season import measure_season
from bench.sink import measure_floor, measure_sink, measure_sink_2_connections
from bench.sweep import measure_sweep
from bench.workers import (
    measure_pipeline,
    measure_pipeline_1_ledger,
    measure_pipeline_2_workers,
    measure_pipeline_with_relay,
    measure_redelivery,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One row. `take` answers with the members that it adds; `by_default` is False where it must be asked for."""

    name: str
    take: Callable[[Run], dict[str, object]]
    needs_kafka: bool = True
    by_default: bool = True

    @property
    def summary(self) -> str:
        """What is measured, in one line."""
        return (self.take.__doc__ or "").strip()


MEASURES: Final = (
    Measure("floor", measure_floor, needs_kafka=False),
    Measure("sink", measure_sink, needs_kafka=False),
    Measure("sink_2_connections", measure_sink_2_connections, needs_kafka=False),
    Measure("coupling_enforce_cost", measure_coupling_enforce_cost),
    Measure("bare", measure_bare),
    Measure("pipeline", measure_pipeline),
    Measure("pipeline_1_ledger", measure_pipeline_1_ledger),
    Measure("pipeline_2_workers", measure_pipeline_2_workers),
    Measure("pipeline_with_relay", measure_pipeline_with_relay),
    Measure("pipeline_with_relay_and_reconciliation", measure_pipeline_with_relay_and_reconciliation),
    Measure("reconcile_cost", measure_reconcile_cost, by_default=False),
    Measure("redelivery", measure_redelivery),
    Measure("naive", measure_naive),
    Measure("quix", measure_quix),
    Measure("latency", measure_latency),
    Measure("memory", measure_memory),
    Measure("preload", measure_preload, by_default=False),
    Measure("alerts", measure_alerts, by_default=False),
    Measure("false_alerts", measure_false_alerts, by_default=False),
    Measure("sweep", measure_sweep, by_default=False),
    Measure("kills", measure_kills, by_default=False),
    Measure("season", measure_season, by_default=False),
)

MEMBERS: Final = (
    "pipeline_events_per_s",
    "pipeline_1_ledger_events_per_s",
    "pipeline_2_workers_events_per_s",
    "pipeline_with_relay_events_per_s",
    "pipeline_with_relay_and_reconciliation_events_per_s",
    "reconcile_cost_percent",
    "sink_events_per_s",
    "sink_2_connections_events_per_s",
    "sink_2_processes_events_per_s",
    "floor_events_per_s",
    "floor_with_receipts_events_per_s",
    "floor_with_foreign_keys_events_per_s",
    "coupling_enforce_cost_percent",
    "bare_events_per_s",
    "naive_events_per_s",
    "quix_events_per_s",
    "redelivery_events_per_s",
    "latency_ms",
    "worker_rss_mib_max",
    "worker_mib_growth",
    "preload_events_per_s",
    "preload_ratio",
    "preload_cold_events_per_s",
    "preload_cold_ratio",
    "alert_ms",
    "resolve_ms",
    "missed",
    "unresolved",
    "false_alerts",
    "plants",
    "plants_seconds",
    "background_events_per_s",
    "per_invariant",
    "season_false_alerts",
    "sweep",
    "kills",
    "season",
)
"""The members of the answer, null where they were not measured; `broker`, `postgres` and `machine` stand beside them."""


def choose(names: Sequence[str], *, preload: bool) -> list[Measure]:
    """The measures that were asked for, in their own order; all but the optional ones where none was named."""
    unknown = set(names) - {measure.name for measure in MEASURES}
    if unknown:
        known = ", ".join(measure.name for measure in MEASURES)
        raise BenchFailed(f"there is no measure {', '.join(sorted(unknown))}: known are {known}")
    return [
        measure
        for measure in MEASURES
        if measure.name in names or (not names and measure.by_default) or (preload and measure.take is measure_preload)
    ]
