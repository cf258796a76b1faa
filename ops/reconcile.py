"""`laurels reconcile`: checks every invariant, now or for good."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Annotated, Any

import typer
from msgspec import json
from psycopg2.extensions import connection as Connection
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.options import AsJson
from ops.verify import verify
from schemas.alerts import ALERT_KINDS
from schemas.errors import LaurelsError
from schemas.settings import Settings, load_settings
from sinks.database import Connect, Timeouts, connector, transaction
from sinks.history import fetch_balance
from sinks.invariants.checking import Violation
from sinks.invariants.settling import LOCK_MS, compare_alone, let_others_compare
from sinks.invariants.sweeping import BY_HAND
from streams.outage import configure_service_logging
from streams.reconciler import reconcile_forever
from streams.reconciliation import ALL, Swept, check_users, grace_of, settle_topics, sweep

STATEMENT_MS = 600_000
SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add `reconcile` to the command line."""
    app.command()(reconcile)


def reconcile(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Read the topics as well, and compare as `verify` does.")
    ] = False,
    invariant: Annotated[
        list[str] | None, typer.Option(help="Only this one, such as INV-R01; may be repeated.")
    ] = None,
    user_id: Annotated[int | None, typer.Option("--user", min=1, help="Only this user.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where such a sweep was interrupted within the hour.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Check whoever is touched, for good; sweep now and then.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that the reward tables hold what the events say; raise alerts and resolve those that are mended.

    Safe beside running workers: nothing is locked. Exits with 0 when everything holds, 1 when something does not, 3 when
    it could not look, 130 when it was interrupted: what it had found stands among the alerts, and `--resume` goes on.
    One at a time compares everybody with the topics; another is refused with 3.

    Example: laurels reconcile --invariant INV-R01 --json
    """
    if follow and (full or invariant or user_id or resume or as_json):
        raise typer.BadParameter("it checks everything, for good: give it no other option", param_hint="--follow")
    if resume and user_id:
        raise typer.BadParameter("one user is no sweep that could be interrupted", param_hint="--resume")
    settings = load_settings()
    if follow:
        configure_service_logging(settings)
        asyncio.run(reconcile_forever(settings))
        return
    wanted = _known(invariant)
    kafka = settings.librdkafka() if full else None
    timeouts = Timeouts(statement_ms=STATEMENT_MS, lock_ms=LOCK_MS)
    connect = connector(settings.database_url, name="laurels reconcile", timeouts=timeouts)
    with _comparing_alone(connect) if full and user_id is None else nullcontext() as alone:
        if user_id is not None:
            swept = _check_user(connect, settings, wanted, user_id)
        else:
            swept = _sweep(connect, settings, wanted, resume=resume, quiet=as_json)
        differences = [] if kafka is None else _compare_with_topics(alone, settings, kafka, user_id)
    if as_json:
        violations = [_as_json(violation) for violation in swept.violations]
        told = {"users": swept.users, "after": swept.after, "violations": violations, "differences": differences}
        typer.echo(json.encode(told))
    else:
        _print(swept, differences)
    if swept.violations or differences:
        raise typer.Exit(EXIT_DIFFERENT)


def _check_user(connect: Connect, settings: Settings, wanted: Sequence[str], user_id: int) -> Swept:
    with transaction(connect) as cursor:
        if fetch_balance(cursor, user_id) is None:
            message = f"there is no user {user_id}"
            raise LaurelsError(message)
        found = check_users(cursor, [user_id], grace_of(settings))
    return Swept(users=1, violations=[violation for violation in found if violation.kind in wanted])


def _sweep(connect: Connect, settings: Settings, wanted: Sequence[str], *, resume: bool, quiet: bool) -> Swept:
    with Progress(console=Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("reconciling", total=None)

        def progressed(users: int, total: int) -> None:
            bar.update(task, total=total, advance=users)

        try:
            return sweep(
                connect, grace_of(settings), wanted=wanted, sweeper=BY_HAND, resume=resume, progressed=progressed
            )
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command with --resume goes on from here", err=True)
            raise


@contextmanager
def _comparing_alone(connect: Connect) -> Iterator[Connection]:
    """The connection by which to tell of what the topics say; it is lost together with being the only one who does."""
    with closing(connect()) as connection:
        with connection, connection.cursor() as cursor:
            if not compare_alone(cursor):
                message = "another `laurels reconcile --full` is comparing with the topics: wait until it is done"
                raise LaurelsError(message)
        yield connection
        with connection, connection.cursor() as cursor:
            let_others_compare(cursor)


def _compare_with_topics(
    alone: Connection | None, settings: Settings, kafka: Mapping[str, Any], user_id: int | None
) -> list[Any]:
    report = verify(
        settings.database_url,
        kafka,
        group=settings.group,
        prefix=settings.topic_prefix,
        user_id=user_id,
    )
    if alone is not None:
        with alone, alone.cursor() as cursor:
            settle_topics(cursor, [f"{difference.table} {difference.key}" for difference in report.differences])
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


def _print(swept: Swept, differences: Sequence[Any]) -> None:
    console = Console()
    found = swept.violations
    if found:
        table = Table("invariant", "subject", "expected", "found")
        for violation in found[:SHOWN]:
            table.add_row(violation.kind, violation.subject, violation.expected, violation.found)
        console.print(table)
        if len(found) > SHOWN:
            console.print(f"and {len(found) - SHOWN} more: see --json")
    for difference in differences[:SHOWN]:
        console.print(f"log and receipts disagree: {json.encode(difference).decode()}", markup=False)
    console.print(f"{len(found) + len(differences)} violations; {swept.users} users checked")
    if swept.after:
        console.print(f"users up to {swept.after} were checked before it was interrupted: see `laurels alerts list`")
