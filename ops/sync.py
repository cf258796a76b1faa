"""`laurels sync`: finds where progress and license disagree, plans repairs, and applies them."""

from contextlib import closing
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting
from schemas.settings import load_settings
from sinks.coupling.desyncs import count_desyncs, find_desyncs, known_specializations
from sinks.coupling.plans import Scope, Side, fetch_items, fetch_plan, make_plan
from sinks.database import Connect, Timeouts, connector, transaction
from sinks.ledger import Identity, Ledger
from streams import rules
from streams.sync import apply_plan

STATEMENT_MS = 600_000
"""Comparing everybody may take longer than a worker's statement may."""

Specialization = Annotated[str | None, typer.Option(help="Only in this specialization, such as PLAYER.")]
User = Annotated[int | None, typer.Option("--user", min=1, help="Only of this user.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="So many are shown at most.")]


def register(app: typer.Typer) -> None:
    """Add `sync` to the command line."""
    sync = typer.Typer(no_args_is_help=True)
    sync.callback()(_sync)
    sync.command()(find)
    sync.command()(plan)
    sync.command()(apply)
    app.add_typer(sync, name="sync")


def _sync() -> None:
    """Find where progress and license disagree, plan repairs and apply them. Safe beside running workers."""


def find(
    *, specialization: Specialization = None, user_id: User = None, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the desyncs, in the order of users. Exits with 1 when there are any.

    Example: laurels sync find --specialization COACH
    """
    with transaction(_connect()) as cursor:
        known_specializations(cursor, [specialization] if specialization else [])
        counts = count_desyncs(cursor, specialization=specialization, user_id=user_id)
        desyncs = find_desyncs(cursor, specialization=specialization, user_id=user_id, limit=limit)
    if as_json:
        typer.echo(json.encode({"counts": counts, "desyncs": [desync._asdict() for desync in desyncs]}))
    else:
        table = Table(
            "user", "specialization", "progress", "license", "highest", "maximum", Column("what", overflow="fold")
        )
        for desync in desyncs:
            levels = (desync.progress_level, desync.license_level, desync.highest_level, desync.max_level)
            kinds = ", ".join(desync.kinds)
            table.add_row(str(desync.user_id), desync.specialization, *map(_shown, levels), kinds)
        console = Console()
        console.print(table)
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        console.print(f"{len(desyncs)} shown; {found}" if found else "progress and license agree everywhere")
    if desyncs:
        raise typer.Exit(EXIT_DIFFERENT)


def plan(
    *,
    source: Annotated[Side, typer.Option(help="Whose level wins where both sides exist.")] = "progress",
    specialization: Specialization = None,
    user_id: User = None,
    reason: Annotated[str, typer.Option(help="Why; kept with every change of level.")] = "",
    advanced_by: Annotated[int | None, typer.Option(min=1, help="The user whose decision it is.")] = None,
    limit: Limit = 100,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Plan to mend every desync: nothing is changed yet. Where only one side exists, its level wins.

    Example: laurels sync plan --source license --reason "licenses were moved by hand in May"
    """
    with transaction(_connect()) as cursor:
        scope = Scope(user_id, specialization)
        made = make_plan(cursor, scope, source, actor=acting(actor), reason=reason, advanced_by=advanced_by)
        items = fetch_items(cursor, made.id, limit=limit)
    if as_json:
        planned = [item._asdict() for item in items]
        typer.echo(json.encode({"plan": made._asdict(), "items": planned}))
        return
    table = Table("user", "specialization", "progress", "license", "both will be", Column("what", overflow="fold"))
    for item in items:
        levels = (item.progress_level, item.license_level, item.new_level)
        table.add_row(str(item.user_id), item.specialization, *map(_shown, levels), ", ".join(item.kinds))
    console = Console()
    console.print(table)
    console.print(f"{made.items} planned, {len(items)} shown; apply them with: laurels sync apply {made.id}")


def apply(
    plan_id: Annotated[str, typer.Argument(metavar="PLAN", help="The id that `laurels sync plan` gave.")],
    *,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Apply a plan: what has changed since it was made is left as it is. Exits with 1 when any was left.

    Stopped in the middle, it goes on where it was when it is applied again; nothing is done twice.
    Example: laurels sync apply 3f9c2b7a51d04e68
    """
    connect = _connect()
    with transaction(connect) as cursor:
        pending = fetch_plan(cursor, plan_id).pending
    console = Console(stderr=True, quiet=as_json)
    with closing(Ledger(connect, rules, Identity(group="", owner=""))) as ledger, Progress(console=console) as bar:
        task = bar.add_task("syncing", total=pending)
        applied = apply_plan(
            connect,
            ledger,
            plan_id,
            actor=acting(actor),
            origin="cli",
            progressed=lambda items: bar.advance(task, items),
        )
    if as_json:
        left = [item._asdict() for item in applied.left]
        typer.echo(json.encode({"plan": plan_id, "counts": applied.counts, "left": left}))
    else:
        for item in applied.left:
            typer.echo(f"user {item.user_id} in {item.specialization}: {item.outcome}: {item.detail}")
        typer.echo(", ".join(f"{count} {outcome}" for outcome, count in applied.counts.items()) or "nothing to do")
    if applied.left:
        raise typer.Exit(EXIT_DIFFERENT)


def _shown(level: int | None) -> str:
    return "none" if level is None else str(level)


def _connect() -> Connect:
    timeouts = Timeouts(statement_ms=STATEMENT_MS)
    return connector(load_settings().database_url, name="laurels sync", timeouts=timeouts)
