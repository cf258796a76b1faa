"""`laurels bench`: measures throughput and latency, side by side with other ways to do it."""

import re
import signal
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from bench.registry import MEASURES, choose
from bench.report import show
from bench.running import run_measures
from ops.cli import EXIT_FAILED
from ops.options import AsJson

EVENTS: Final = 200_000
MEMORY_TIMES: Final = 10
_UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000}
_NAMES: Final = ",".join(measure.name for measure in MEASURES)


def register(app: typer.Typer) -> None:
    """Add `bench` to the command line."""
    app.command()(bench)


def bench(
    *,
    as_json: AsJson = False,
    only: Annotated[str, typer.Option(metavar="NAME,...", help=f"Just these measures, of: {_NAMES}")] = "",
    events: Annotated[int, typer.Option(min=100, help="How many events each measure is taken with.")] = EVENTS,
    preload: Annotated[str, typer.Option(metavar="ROWS", help="Also against so many ledger rows, as in 10m.")] = "",
) -> None:
    """Measure what this machine records, next to the floor that Postgres sets and to other ways to do it.

    Uses DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS where the environment gives them, in scratch databases and topics of
    its own, else starts Postgres and Apache Kafka itself. Leave the machine alone meanwhile.
    Example: laurels bench --only sink,pipeline --events 50000
    """
    rows = _count(preload)
    # As Ctrl-C does: what was started is stopped, and what was created is dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Console(stderr=True, highlight=False)
    members = run_measures(
        choose([name for name in only.split(",") if name], preload=bool(rows)),
        lambda line: progress.print(line, style="dim", soft_wrap=True),
        events=events,
        memory_events=MEMORY_TIMES * events,
        preload_rows=rows,
    )
    if as_json:
        print(msgspec.json.encode(members).decode())
    else:
        show(Console(), members)
    if members["failed"]:
        raise typer.Exit(EXIT_FAILED)


def _count(text: str) -> int:
    """A number as people say it: 10m, 500k."""
    match = re.fullmatch(r"(\d+)([km]?)", text.lower())
    if text and match is None:
        raise typer.BadParameter(f"{text!r} is not a number like 10m", param_hint="--preload")
    return int(match.group(1)) * _UNITS[match.group(2)] if match else 0
