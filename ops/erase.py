"""`laurels erase`: every word about a person goes; figures, and the number that a replay needs, stay."""

from contextlib import closing
from typing import Annotated

import typer
from msgspec import json

from ops.options import Actor, AsJson, acting
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.database import Timeouts, connector
from sinks.erasure import erase_user


def register(app: typer.Typer) -> None:
    """Add `erase` to the command line."""
    app.command("erase")(erase)


def erase(
    *,
    user_id: Annotated[int, typer.Option("--user", min=1, help="Whom.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log, so no personal data.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: nothing brings the words back.")] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Blank every word about a user: e-mail, memos, reasons, descriptions, the bytes of dead letters.

    Their SHA-256 hashes stay, so that sums and seals still hold; so does the user's number, so that a replay does not
    pay again. Needs the rights of the tables' owner. What stands on the topics is out of its reach. Exits with 1
    where it was not confirmed, 3 where there is no such user, or without the rights.

    Example: laurels erase --user 5 --reason "request 2026-117" --yes
    """
    if not reason.strip():
        raise typer.BadParameter("an erasure needs a reason", param_hint="--reason")
    if not yes and not typer.confirm(f"Blank every word about user {user_id}? Nothing brings them back", err=True):
        raise typer.Abort
    connect = connector(load_settings().database_url, name="laurels erase", timeouts=Timeouts(statement_ms=600_000))
    with closing(connect()) as connection:
        blanked = erase_user(connection, user_id, actor=acting(actor), reason=reason)
    if blanked is None:
        raise LaurelsError(f"there is no user {user_id}")
    if as_json:
        typer.echo(json.encode({"user_id": user_id, "blanked": blanked}))
        return
    for what, number in blanked.items():
        if number:
            typer.echo(f"{what}: {number}")
    typer.echo(f"user {user_id} is erased; the records on the topics are not: see docs/erasure.md")
