"""`laurels verify`: folds the topics from scratch and compares every row of Postgres with what they say."""

import os
from collections.abc import Mapping
from contextlib import closing
from time import monotonic
from typing import Annotated, Any, Final

import psycopg2
import typer
from confluent_kafka import KafkaException
from msgspec import json
from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.options import AsJson
from ops.verification.log import KafkaTopics
from ops.verification.report import Report
from ops.verification.share import EVERYBODY
from ops.verification.shares import Order, prove_in_shares
from ops.verification.snapshot import Snapshot
from ops.verification.verification import Verification
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.database import Timeouts, connector

PATIENT: Final = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)
"""A verification holds one transaction open while it reads the topics."""

WORTH_SHARING: Final = 50_000
"""Fewer events than this are read sooner than other processes are at work."""

MOST_PROCESSES: Final = 8
"""As many are used by default, if there are so many cores."""

SHOWN: Final = 100
"""As many differences are printed; `--json` has them all."""


def register(app: typer.Typer) -> None:
    """Add `verify` to the command line."""
    app.command("verify")(verify_command)


def verify_command(
    *,
    user_id: Annotated[int | None, typer.Option("--user", min=1, help="Report only this user's rows.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Share the users among so many processes. [default: a core each, at most 8]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that Postgres holds what the topics say, row by row.

    Folds the topics from scratch with rules written a second time, up to the recorded positions, beside running
    workers if need be. What no log holds any more is taken as given and counted as unverifiable. Exits with 0 when
    nothing differs, 1 when something does, 3 when it could not look.

    Example: laurels verify --json | jq '.differences[] | select(.table == "users")'
    """
    settings = load_settings()
    console = Console(stderr=True)
    with console.status("folding the topics and comparing ..."):
        report = verify(
            settings.database_url,
            settings.librdkafka(),
            group=settings.group,
            prefix=settings.topic_prefix,
            user_id=user_id,
            processes=processes,
        )
    if as_json:
        typer.echo(json.encode(report.as_json()))
    else:
        _print(report)
    if report.differences:
        raise typer.Exit(EXIT_DIFFERENT)


def _print(report: Report) -> None:
    console = Console()
    if report.differences:
        table = Table("table", "key", "expected", "found", "event")
        for difference in report.differences[:SHOWN]:
            at = difference.event
            table.add_row(
                difference.table,
                difference.key,
                _shown(difference.expected),
                _shown(difference.found),
                f"{at.topic}[{at.partition}]@{at.offset}" if at else "",
            )
        console.print(table)
        if len(report.differences) > SHOWN:
            console.print(f"and {len(report.differences) - SHOWN} more: see --json")
    rows = sum(report.compared.values())
    console.print(
        f"{len(report.differences)} differences: {report.events} events and {rows} rows compared "
        f"in {report.seconds:.1f} s, {report.unverifiable} unverifiable"
    )


def _shown(value: Any) -> str:
    return "no row" if value is None else json.encode(value).decode()


def verify(
    database_url: str,
    kafka: Mapping[str, Any],
    *,
    group: str = "laurels",
    prefix: str = "",
    user_id: int | None = None,
    processes: int | None = None,
) -> Report:
    """Compare what Postgres holds, up to its recorded positions, with what the topics say.

    `kafka` are the client's settings, `bootstrap.servers` among them; `prefix` stands before topic names on the cluster.
    Changes nothing, and works beside running workers. With `user_id` only that user's rows are reported. Where there is
    much to read, so many `processes` share it; where one finds a difference, all is looked at again in this one, to say
    which row it is.
    """
    began = monotonic()
    try:
        connect = connector(database_url, name="laurels verify", timeouts=PATIENT)
        with closing(Snapshot(connect)) as snapshot:
            shares = processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
            report = None
            if shares > 1 and sum(position.next_offset for position in snapshot.positions(group)) >= WORTH_SHARING:
                order = Order(database_url, PATIENT, kafka, prefix, group, snapshot.export(), EVERYBODY)
                report = prove_in_shares(snapshot, order, shares)
            if report is None:
                report = Verification(snapshot, KafkaTopics(kafka, prefix), group).run()
    except (psycopg2.Error, KafkaException) as error:
        message = f"the verification could not look: {error}"
        raise LaurelsError(message) from error
    if user_id is not None:
        report.differences = [difference for difference in report.differences if difference.user_id == user_id]
    report.seconds = round(monotonic() - began, 3)
    return report
