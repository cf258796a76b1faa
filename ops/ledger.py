"""`laurels ledger`: balances as they were, exports, and the chain of seals that shows tampering."""

import re
from contextlib import closing
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Annotated, Final, Literal

import typer
from msgspec import json
from psycopg2.extensions import connection as Connection
from rich.console import Console
from rich.table import Column, Table

from ops.cli import EXIT_DIFFERENT
from ops.ledger_files import STDOUT, json_lines, parquet_file
from ops.options import AsJson, past_moment
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.chain import seal_ledger
from sinks.chain_check import Anchor, Broken, Checked, check_chain, count_unsealed, fetch_head
from sinks.database import Connect, Timeouts, connector, transaction
from sinks.history import Wanted, fetch_balance, stream_entries

PATIENT: Final = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)
"""An export waits for whoever reads it, within one transaction."""


UserId = Annotated[int | None, typer.Option("--user", min=1, help="Only this user's entries.")]


def register(app: typer.Typer) -> None:
    """Add `ledger` to the command line."""
    ledger = typer.Typer(no_args_is_help=True)
    ledger.callback()(_ledger)
    ledger.command()(balance)
    ledger.command()(export)
    ledger.command()(seal)
    ledger.command("verify-chain")(verify_chain)
    app.add_typer(ledger, name="ledger")


def _ledger() -> None:
    """Look into the ledger's past, take it out, and see whether anybody tampered with it."""


def balance(
    user_id: Annotated[int, typer.Option("--user", min=1, help="Whose.")],
    *,
    at: Annotated[
        datetime | None,
        typer.Option(parser=past_moment, metavar="TIME", help="UTC unless it says otherwise; else now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a user's balances as the ledger had them at a moment: its entries recorded until then, and the opening.

    Exits with 3 where there is no such user.

    Example: laurels ledger balance --user 5 --at 2026-03-01T12:00:00Z
    """
    with transaction(_connect()) as cursor:
        found = fetch_balance(cursor, user_id, at)
    if found is None:
        raise LaurelsError(f"there is no user {user_id}")
    if as_json:
        typer.echo(json.encode(found._asdict()))
        return
    typer.echo(f"user {user_id} at {found.at.isoformat()}: {found.xp} XP, {found.credits} credits")
    typer.echo(f"{found.entries} entries; opened with {found.opening_xp} XP, {found.opening_credits} credits")


def export(
    *,
    output: Annotated[Path, typer.Option(dir_okay=False, help="Where to; - is standard output.")] = STDOUT,
    format_: Annotated[
        Literal["jsonl", "parquet"] | None,
        typer.Option("--format", help="Parquet needs pyarrow; else as the file's name ends: .parquet, or JSON lines."),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", parser=past_moment, metavar="TIME", help="Recorded then or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=past_moment, metavar="TIME", help="Recorded before.")
    ] = None,
    user_id: UserId = None,
    as_json: AsJson = False,
) -> None:
    """Export every XP, credit and skill entry with its receipt's source and ruleset, as of one moment.

    Streams: memory stays flat whatever the size. A file gets its name once it is whole. `--json` tells the number of
    rows afterwards, on standard error where the rows go to standard output.

    Example: laurels ledger export --from 2026-03-01 --to 2026-04-01 --output march.parquet
    """
    as_parquet = format_ == "parquet" or (format_ is None and output.suffix == ".parquet")
    if as_parquet and output == STDOUT:
        raise typer.BadParameter("Parquet needs a file", param_hint="--output")
    if since is not None and until is not None and since >= until:
        raise typer.BadParameter("the range is empty: --from is not before --to", param_hint="--from")
    rows = 0
    with closing(_connect(PATIENT)()) as connection:
        _refuse_stranger(connection, user_id)
        with (parquet_file if as_parquet else json_lines)(output) as out:
            for batch in stream_entries(connection, Wanted(since, until, user_id)):
                out.write(batch)
                rows += len(batch)
    told = {"rows": rows, "output": str(output)}
    if as_json:
        typer.echo(json.encode(told), err=output == STDOUT)
    elif output != STDOUT:
        typer.echo(f"{rows} entries in {output}")


def seal(
    *,
    wait_seconds: Annotated[
        float, typer.Option("--wait", min=0, help="So many seconds at most for transactions that are still writing.")
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Seal what the ledger holds now. Workers do so by themselves, again and again.

    Note the number and hash it prints where nobody who owns the database can reach: `verify-chain --anchor` takes them.
    Exits with 3 where a transaction went on writing for too long.

    Example: laurels ledger seal
    """
    connect = _connect()
    *_, progress = seal_ledger(connect, wait_seconds=wait_seconds)
    if progress.waits_for:
        raise LaurelsError(f"nothing sealed: {progress.waits_for} transactions have been writing all the time")
    with transaction(connect) as cursor:
        head = fetch_head(cursor)
    if as_json:
        typer.echo(json.encode({**progress._asdict(), "head": _head(head)}))
        return
    busy = "; somebody else seals the rest just now" if progress.busy else ""
    typer.echo(f"{progress.rows} rows under {progress.seals} new seals{busy}")
    if head is not None:
        typer.echo(f"head: {head.number}:{head.hash.hex()}")


def verify_chain(
    *,
    anchor: Annotated[
        str | None, typer.Option(metavar="NUMBER:HASH", help="A head noted before: the chain must still hold it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many differences at most; all are counted.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Find every row that somebody changed, removed or inserted after it was sealed.

    Exits with 0 when all is as it was sealed, 1 when something is not, 3 when it could not look.

    Example: laurels ledger verify-chain --anchor 42:9f86d081...
    """
    noted = None if anchor is None else _anchor(anchor)
    began = monotonic()
    broken: list[Broken] = []
    count = 0
    checked = Checked(0, 0, None)
    with closing(_connect(PATIENT)()) as connection, Console(stderr=True).status("checking the seals ...") as status:
        for found in check_chain(connection, noted):
            if isinstance(found, Broken):
                count += 1
                broken += [found] if len(broken) < limit else []
            else:
                checked = found
                status.update(f"{checked.seals} seals, {checked.rows} rows")
        with connection, connection.cursor() as cursor:
            unsealed = count_unsealed(cursor)
    if as_json:
        told = {
            "seals": checked.seals,
            "rows": checked.rows,
            "head": _head(checked.head),
            "unsealed": unsealed,
            "broken_total": count,
            "broken": [one._asdict() for one in broken],
            "seconds": round(monotonic() - began, 3),
        }
        typer.echo(json.encode(told))
    else:
        _print(checked, broken, count, sum(unsealed.values()))
    if count:
        raise typer.Exit(EXIT_DIFFERENT)


def _print(checked: Checked, broken: list[Broken], count: int, unsealed: int) -> None:
    console = Console()
    if broken:
        table = Table("what", "table", "row", "seal", Column("detail", overflow="fold"))
        for one in broken:
            table.add_row(one.kind, one.table, str(one.row_id or ""), str(one.seal or ""), one.detail)
        console.print(table)
    verdict = f"{count} differences" if count else "all as it was sealed"
    console.print(f"{checked.seals} seals over {checked.rows} rows: {verdict}; {unsealed} rows are not sealed yet")
    if checked.head is not None:
        typer.echo(f"head: {checked.head.number}:{checked.head.hash.hex()}")


def _connect(timeouts: Timeouts | None = None) -> Connect:
    return connector(load_settings().database_url, name="laurels ledger", timeouts=timeouts)


def _refuse_stranger(connection: Connection, user_id: int | None) -> None:
    if user_id is None:
        return
    with connection, connection.cursor() as cursor:
        if fetch_balance(cursor, user_id) is None:
            raise LaurelsError(f"there is no user {user_id}")


def _anchor(text: str) -> Anchor:
    match = re.fullmatch("([1-9][0-9]{0,17}):([0-9a-f]{64})", text)
    if match is None:
        raise typer.BadParameter("an anchor is NUMBER:HASH, as a seal prints it", param_hint="--anchor")
    return Anchor(int(match[1]), bytes.fromhex(match[2]))


def _head(head: Anchor | None) -> dict[str, object] | None:
    return None if head is None else {"number": head.number, "hash": head.hash.hex()}
