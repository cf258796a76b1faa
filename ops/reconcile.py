"""`laurels reconcile`: checks every invariant, now or for good."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from msgspec import json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.options import AsJson
from ops.verify import verify
from schemas.alerts import ALERT_KINDS
from schemas.errors import LaurelsError
from schemas.logs import configure_logging
from schemas.settings import Settings, load_settings
from sinks.database import Connect, Timeouts, connector
from sinks.invariants.checking import Violation
from streams.reconciler import reconcile_forever
from streams.reconciliation import ALL, check_users, grace_of, sweep

STATEMENT_MS = 600_000
SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add `reconcile` to the command line."""
    app.command()(reconcile)


def reconcile(
    *,
    full: Annotated[bool, typer.Option("--full", help="Compare with the topics as well, as `verify` does.")] = False,
    invariant: Annotated[
        list[str] | None, typer.Option(help="Only this one, such as INV-R01; may be repeated.")
    ] = None,
    user_id: Annotated[int | None, typer.Option("--user", min=1, help="Only this user.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a sweep was interrupted.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Check whoever is touched, for good; sweep now and then.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that the reward tables hold what the events say; raise alerts and resolve those that are mended.

    Safe beside running workers: nothing is locked. Exits with 0 when everything holds, 1 when something does not, 3 when
    it could not look. Example: laurels reconcile --invariant INV-R01 --json
    """
    settings = load_settings()
    if follow:
        configure_logging(settings.log_format, settings.log_level)
        asyncio.run(reconcile_forever(settings))
        return
    wanted = _known(invariant)
    connect = connector(settings.database_url, name="laurels reconcile", timeouts=Timeouts(statement_ms=STATEMENT_MS))
    if user_id is not None:
        with closing(connect()) as connection, connection, connection.cursor() as cursor:
            found = [seen for seen in check_users(cursor, [user_id], grace_of(settings)) if seen.kind in wanted]
        users = 1
    else:
        users, found = _sweep(connect, settings, wanted, resume=resume, quiet=as_json)
    differences = _compare_with_topics(settings, user_id) if full else []
    if as_json:
        violations = [_as_json(violation) for violation in found]
        typer.echo(json.encode({"users": users, "violations": violations, "differences": differences}))
    else:
        _print(users, found, differences)
    if found or differences:
        raise typer.Exit(EXIT_DIFFERENT)


def _sweep(
    connect: Connect, settings: Settings, wanted: Sequence[str], *, resume: bool, quiet: bool
) -> tuple[int, list[Violation]]:
    with Progress(console=Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("reconciling", total=None)

        def progressed(users: int, total: int) -> None:
            bar.update(task, total=total, advance=users)

        swept = sweep(connect, grace_of(settings), wanted=wanted, resume=resume, progressed=progressed)
    return swept.users, swept.violations


def _compare_with_topics(settings: Settings, user_id: int | None) -> list[Any]:
    report = verify(
        settings.database_url,
        settings.librdkafka(),
        group=settings.group,
        prefix=settings.topic_prefix,
        user_id=user_id,
    )
    return list(report.as_json()["differences"])


def _known(invariants: Sequence[str] | None) -> Sequence[str]:
    unknown = sorted(set(invariants or ()) - set(ALL))
    if unknown:
        message = f"there is no invariant {unknown[0]!r}: known are {', '.join(sorted(ALL))}"
        raise LaurelsError(message)
    return invariants or ALL


def _as_json(violation: Violation) -> dict[str, Any]:
    return {
        "invariant": violation.kind,
        "severity": violation.severity or ALERT_KINDS[violation.kind].severity,
        "subject": violation.subject,
        "expected": violation.expected,
        "found": violation.found,
        "labels": violation.labels,
    }


def _print(users: int, found: Sequence[Violation], differences: Sequence[Any]) -> None:
    console = Console()
    if found:
        table = Table("invariant", "subject", "expected", "found")
        for violation in found[:SHOWN]:
            table.add_row(violation.kind, violation.subject, violation.expected, violation.found)
        console.print(table)
        if len(found) > SHOWN:
            console.print(f"and {len(found) - SHOWN} more: see --json")
    for difference in differences[:SHOWN]:
        console.print(f"log and receipts disagree: {json.encode(difference).decode()}", markup=False)
    console.print(f"{len(found) + len(differences)} violations; {users} users checked")
