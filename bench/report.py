"""The answer as people read it: every figure, and how it stands to the others and to its target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table

from bench.registry import MEMBERS

Members = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must be at least, or at most, `limit`. `find` raises KeyError or TypeError where it is unmeasured."""

    label: str
    find: Callable[[Members], float]
    limit: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` is what is wanted."""
        return value <= self.limit if self.at_most else value >= self.limit


def _ratio(above: str, below: str) -> Callable[[Members], float]:
    return lambda members: members[f"{above}_events_per_s"] / members[f"{below}_events_per_s"]


def _part(members: Members, row: str, name: str) -> float:
    return float(members[row][name])


def _season(members: Members, name: str) -> float:
    return _part(members, "season", name)


TARGETS: Final = (
    Target("pipeline / sink (1 connection)", _ratio("pipeline", "sink"), 0.9),
    Target("pipeline / floor", _ratio("pipeline", "floor"), 0.5),
    Target("pipeline / naive", _ratio("pipeline", "naive"), 20),
    Target("pipeline / bare", _ratio("pipeline", "bare"), 0.85),
    Target("pipeline, 1 worker, events/s", lambda members: members["pipeline_events_per_s"] + 0, 12_000),
    Target("pipeline, 2 workers / 1", _ratio("pipeline_2_workers", "pipeline"), 1.2),
    Target("the same, each of one ledger", _ratio("pipeline_2_workers", "pipeline_1_ledger"), 1.2),
    Target("p50 at 2,000/s, ms", lambda members: members["latency_ms"]["2000"]["p50"], 30, at_most=True),
    Target("p99 at 2,000/s, ms", lambda members: members["latency_ms"]["2000"]["p99"], 60, at_most=True),
    Target("reconciling, % of the pipeline", lambda members: members["reconcile_cost_percent"] + 0, 10, at_most=True),
    Target("redelivery / first time", _ratio("redelivery", "pipeline"), 3),
    Target("preloaded / empty", lambda members: members["preload_ratio"] + 0, 0.85),
    Target("p99 from a violation to its alert, ms", lambda members: members["alert_ms"]["p99"], 1_000, at_most=True),
    Target("missed violations", lambda members: members["missed"] + 0, 0, at_most=True),
    Target("false alerts", lambda members: members["false_alerts"] + 0, 0, at_most=True),
    Target(
        "false alerts over a season", lambda members: _part(members, "season_false_alerts", "false"), 0, at_most=True
    ),
    Target("sweep of everybody, s", lambda members: _part(members, "sweep", "seconds"), 120, at_most=True),
    Target("sweep of everybody: violations", lambda members: _part(members, "sweep", "violations"), 0, at_most=True),
    Target("season: differences", lambda members: _season(members, "differences"), 0, at_most=True),
    Target("season: differences after kills", lambda members: _season(members, "kills_differences"), 0, at_most=True),
    Target("season: differences by new rules", lambda members: _season(members, "rules_differences"), 0, at_most=True),
    Target("season: verify, events/s", lambda members: _season(members, "verify_events_per_s"), 20_000),
    Target("season: replay of everything, rows", lambda members: _season(members, "replay_rows"), 0, at_most=True),
    Target("season: replay of everything / first time", lambda members: _season(members, "replay_ratio"), 3),
    Target("worker memory, MiB", lambda members: members["worker_rss_mib_max"] + 0, 250, at_most=True),
    Target(
        "its growth over the run's second half, MiB", lambda members: members["worker_mib_growth"] + 0, 10, at_most=True
    ),
)


def judge(members: Members) -> list[tuple[Target, float]]:
    """The targets that can be told from `members`, each with its figure."""
    judged = []
    for target in TARGETS:
        try:
            judged.append((target, target.find(members)))
        except (KeyError, TypeError):
            continue
    return judged


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return f"{value:,}"


def show(console: Console, members: Members) -> None:
    """Print the figures, the targets and what they were measured on."""
    figures = Table(
        "figure", Column("value", justify="right"), title=f"{members['events']:,} events", title_justify="left"
    )
    for name in MEMBERS:
        value = members.get(name)
        if isinstance(value, dict):
            for part, figure in value.items():
                figures.add_row(f"{name} {part}", _figure(figure))
        elif value is not None:
            figures.add_row(name, _figure(value))
    console.print(figures)
    judged = judge(members)
    if judged:
        targets = Table("target", "wanted", "measured", "met", title="Targets", title_justify="left")
        for target, value in judged:
            wanted = f"{'<=' if target.at_most else '>='} {target.limit:,}"
            targets.add_row(target.label, wanted, f"{value:,.2f}", "yes" if target.met(value) else "[red]no[/red]")
        console.print(targets)
    for name in ("machine", "postgres", "broker"):
        if members[name] is not None:
            console.print(f"{name}: {members[name]}", soft_wrap=True, highlight=False)
    for name, message in members["failed"].items():
        console.print(f"[red]{name} failed[/red]: {message}", soft_wrap=True)
