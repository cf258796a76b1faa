"""The commands of `laurels repair`."""

import hashlib
from contextlib import closing
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting
from ops.repair.finding import Damage, Findings, find_damage
from ops.repair.mending import mend
from schemas.errors import LaurelsError
from schemas.settings import Settings, load_settings
from sinks.database import Connect, Timeouts, connector

PATIENT = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)

SHOWN = 40
"""As many findings of a kind are printed; `--json` has them all."""

User = Annotated[int | None, typer.Option("--user", min=1, help="Only this user.")]


def register(app: typer.Typer) -> None:
    """Add `repair` to the command line."""
    repair = typer.Typer(no_args_is_help=True)
    repair.callback()(_repair)
    repair.command()(plan)
    repair.command()(apply)
    app.add_typer(repair, name="repair")


def _repair() -> None:
    """Mend what a replay cannot, since the receipt stands. Nothing is ever deleted."""


def plan(*, user_id: User = None, as_json: AsJson = False) -> None:
    """Show what receipts demand and no table has, rows and figures that are not as they must be, and strays.

    Verifies everything on one snapshot, without locks, and writes nothing. Exits with 0 when nothing is wrong, 1 when
    something is, 3 when it could not look.

    Example: laurels repair plan --json
    """
    settings = load_settings()
    findings = _find(settings, _connector(settings), user_id).findings
    _print(findings, as_json=as_json)
    if any((findings.missing, findings.rows, findings.balances, findings.strays, findings.left)):
        raise typer.Exit(EXIT_DIFFERENT)


def apply(
    *,
    plan_hash: Annotated[str | None, typer.Option("--plan", help="Only if it still comes to this plan.")] = None,
    user_id: User = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Post missing entries again under the same keys, put rows back, and set figures to what the ledger says.

    Beside running workers. Strays, and what a replay must mend, are left alone and listed. All that is mended is audited.
    Exits with 0 when all is mended, 1 when something remains or the plan has changed, 3 when it could not be done.

    Example: laurels repair apply --plan 3f2a9c0b1d4e5f67
    """
    settings = load_settings()
    connect = _connector(settings)
    damage = _find(settings, connect, user_id)
    found = hash_of(damage.findings)
    if plan_hash not in (None, found):
        typer.echo(f"laurels: this is plan {found} now: look at it before it is applied", err=True)
        raise typer.Exit(EXIT_DIFFERENT)
    with closing(connect()) as connection:
        findings = mend(connection, damage, user_id, acting(actor))
    _print(findings, as_json=as_json)
    if findings.strays or findings.left or findings.moved:
        raise typer.Exit(EXIT_DIFFERENT)


def hash_of(findings: Findings) -> str:
    """What identifies these findings, whoever else there is."""
    found = msgspec.structs.replace(findings, users=0)
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()[:16]


def _find(settings: Settings, connect: Connect, user_id: int | None) -> Damage:
    damage = find_damage(settings, connect, user_id)
    found = damage.findings
    if user_id is not None and not any((found.users, found.rows, found.missing, found.strays, found.left)):
        message = f"there is no user {user_id}, and no event speaks of one"
        raise LaurelsError(message)
    return damage


def _connector(settings: Settings) -> Connect:
    return connector(settings.database_url, name="laurels repair", timeouts=PATIENT)


def _print(findings: Findings, *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode({"plan": hash_of(findings), **msgspec.to_builtins(findings)}))
        return
    console = Console()
    for kind in ("missing", "rows", "balances", "strays", "left"):
        found = getattr(findings, kind)
        if found:
            table = Table(*msgspec.structs.asdict(found[0]), title=kind)
            for each in found[:SHOWN]:
                table.add_row(*map(str, msgspec.structs.astuple(each)))
            console.print(table)
    console.print(
        f"plan {hash_of(findings)}: {findings.users} users, {len(findings.missing)} missing entries, "
        f"{len(findings.rows)} rows, {len(findings.balances)} wrong figures, {len(findings.strays)} strays, "
        f"{len(findings.left)} for other commands"
    )
    if findings.moved:
        users = ", ".join(map(str, findings.moved[:SHOWN]))
        console.print(f"more was recorded meanwhile of users {users}: run it once more")
