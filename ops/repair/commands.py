"""The commands of `laurels repair`."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import msgspec
import psycopg2
import typer
from psycopg2.extensions import connection as Connection
from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting
from ops.repair.demanded import Entry
from ops.repair.mending import Entries, Findings, find_wrong, lock, portions, set_right, told
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.audit import AuditEntry, write_audit
from sinks.database import Timeouts, connector

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
    """Show entries that receipts demand and no table has, balances that the ledger contradicts, and strays.

    Reads one snapshot without locks and writes nothing. Exits with 0 when nothing is wrong, 1 when something is.

    Example: laurels repair plan --json
    """
    with _connected() as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        findings = _find(connection, user_id)
    _print(findings, as_json=as_json)
    if findings.missing or findings.balances or findings.strays:
        raise typer.Exit(EXIT_DIFFERENT)


def apply(
    *,
    plan_hash: Annotated[str | None, typer.Option("--plan", help="Only if it still comes to this plan.")] = None,
    user_id: User = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Post missing entries again from their receipts, under the same keys, and set balances to what the ledger says.

    Beside running workers; strays are left alone and listed. Every mended user is audited. Exits with 0 when all is
    mended, 1 when strays remain or the plan has changed.

    Example: laurels repair apply --plan 3f2a9c0b1d4e5f67
    """
    with _connected() as connection:
        if plan_hash is not None:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = hash_of(_find(connection, user_id))
            connection.rollback()
            if found != plan_hash:
                typer.echo(f"laurels: this is plan {found} now: look at it before it is applied", err=True)
                raise typer.Exit(EXIT_DIFFERENT)
        findings = _mend(connection, user_id, acting(actor))
    _print(findings, as_json=as_json)
    if findings.strays:
        raise typer.Exit(EXIT_DIFFERENT)


def hash_of(findings: Findings) -> str:
    """What identifies these findings."""
    return hashlib.sha256(msgspec.json.encode(findings, order="sorted")).hexdigest()[:16]


def _find(connection: Connection, user_id: int | None) -> Findings:
    findings = Findings()
    missing: list[Entry] = []
    with connection.cursor() as cursor:
        for users in portions(cursor, user_id):
            findings.users += len(users)
            entries = Entries(cursor, users)
            missing += entries.missing
            findings.strays += entries.strays
        findings.missing = [told(entry) for entry in missing]
        for users in portions(cursor, user_id):
            findings.balances += find_wrong(cursor, users, missing)
    return findings


def _mend(connection: Connection, user_id: int | None, actor: str) -> Findings:
    """Portion by portion, each in a transaction of its own: entries first, since balances follow from all of them."""
    findings = Findings()
    concerned: set[int] = set()
    with connection.cursor() as cursor:
        for users in portions(cursor, user_id):
            findings.users += len(users)
            lock(cursor, users)
            entries = Entries(cursor, users)
            entries.post_missing()
            concerned |= {entry.user_id for entry in entries.missing}
            findings.strays += entries.strays
            findings.missing += [told(entry) for entry in entries.missing]
            for entry in entries.missing:
                subject = f"user {entry.user_id}"
                detail = {"table": entry.table, "key": " ".join(map(str, entry.key)), "receipt_seq": entry.seq}
                write_audit(cursor, AuditEntry(actor, "repair.posted", subject, detail))
            connection.commit()
        others = sorted(concerned) if user_id is not None else []
        for users in [*portions(cursor, user_id), others]:
            lock(cursor, users)
            wrong = find_wrong(cursor, users)
            set_right(cursor, wrong)
            findings.balances += wrong
            for each in wrong:
                detail = msgspec.to_builtins(each)
                write_audit(cursor, AuditEntry(actor, "repair.set", f"user {each.user_id}", detail))
            connection.commit()
    return findings


@contextmanager
def _connected() -> Iterator[Connection]:
    try:
        with closing(connector(load_settings().database_url, name="laurels-repair", timeouts=PATIENT)()) as connection:
            yield connection
    except psycopg2.OperationalError as error:
        message = f"Postgres cannot be reached: {error}"
        raise LaurelsError(message) from error
    except psycopg2.Error as error:
        message = f"Postgres refuses: {error}"
        raise LaurelsError(message) from error


def _print(findings: Findings, *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode({"plan": hash_of(findings), **msgspec.to_builtins(findings)}))
        return
    console = Console()
    for kind in ("missing", "balances", "strays"):
        found = getattr(findings, kind)
        if found:
            table = Table(*msgspec.structs.asdict(found[0]), title=kind)
            for each in found[:SHOWN]:
                table.add_row(*map(str, msgspec.structs.astuple(each)))
            console.print(table)
    console.print(
        f"plan {hash_of(findings)}: {findings.users} users, {len(findings.missing)} missing entries, "
        f"{len(findings.balances)} wrong figures, {len(findings.strays)} strays"
    )
