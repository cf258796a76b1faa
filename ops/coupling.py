"""`laurels coupling`: checks progress against license, and switches whether the database refuses what parts them."""

from contextlib import closing
from typing import Annotated

import typer
from msgspec import json

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting
from schemas.settings import load_settings
from sinks.coupling import enforcement
from sinks.coupling.desyncs import check as check_user
from sinks.database import Connect, Timeouts, connector, transaction

STATEMENT_MS = 600_000


def register(app: typer.Typer) -> None:
    """Add `coupling` to the command line."""
    coupling = typer.Typer(no_args_is_help=True)
    coupling.callback()(_coupling)
    coupling.command()(check)
    coupling.command()(observe)
    coupling.command()(enforce)
    app.add_typer(coupling, name="coupling")


def _coupling() -> None:
    """Progress and license stand at the same level: check it, and have the database refuse what parts them."""


def check(
    user_id: Annotated[int, typer.Argument(metavar="USER", min=1)],
    specialization: Annotated[str, typer.Argument(help="Such as PLAYER.")] = "PLAYER",
    *,
    as_json: AsJson = False,
) -> None:
    """Compare one user's progress and license. Exits with 1 when they are not as they should be.

    Example: laurels coupling check 42 COACH
    """
    with transaction(_connect()) as cursor:
        checked = check_user(cursor, user_id, specialization)
        mode = enforcement.fetch_mode(cursor)
    if as_json:
        typer.echo(json.encode({**checked._asdict(), "mode": mode}))
    else:
        typer.echo(checked.message)
        if not checked.consistent:
            typer.echo(f"recommended: {checked.recommended_action}")
    if not checked.consistent:
        raise typer.Exit(EXIT_DIFFERENT)


def observe(*, actor: Actor = None, as_json: AsJson = False) -> None:
    """Let others part progress and license: reconciliation raises an alert for it.

    Example: laurels coupling observe
    """
    with closing(_connect()()) as connection:
        enforcement.observe(connection, actor=acting(actor))
    _say("observe", "desyncs raise alerts", as_json=as_json)


def enforce(*, actor: Actor = None, as_json: AsJson = False) -> None:
    """Have the database refuse, at commit, any transaction that parts progress and license, by anyone.

    Fails while there are desyncs. Takes the owner of the tables, and waits up to 5 seconds for writers at work.
    Example: laurels coupling enforce
    """
    with closing(_connect()()) as connection:
        enforcement.enforce(connection, actor=acting(actor))
    _say("enforce", "no transaction can part progress and license", as_json=as_json)


def _say(mode: str, meaning: str, *, as_json: bool) -> None:
    typer.echo(json.encode({"mode": mode}) if as_json else f"{mode}: {meaning}")


def _connect() -> Connect:
    return connector(
        load_settings().database_url, name="laurels coupling", timeouts=Timeouts(statement_ms=STATEMENT_MS)
    )
