"""`laurels tokens`: who may call the API."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.table import Table

from ops.options import Actor, AsJson, acting
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.database import Connect, connector, transaction
from sinks.tokens import Role, Token, create_token, list_tokens, revoke_token


def register(app: typer.Typer) -> None:
    """Add `tokens` to the command line."""
    tokens = typer.Typer(no_args_is_help=True)
    tokens.callback()(_tokens)
    tokens.command()(create)
    tokens.command("list")(list_)
    tokens.command()(revoke)
    app.add_typer(tokens, name="tokens")


def _tokens() -> None:
    """Make tokens for the API, list them, revoke them."""


def create(
    name: Annotated[str, typer.Argument(help="Whom it is for.")],
    *,
    role: Annotated[Role, typer.Option(help="What it may do; each may do what the ones before it may.")] = "viewer",
    days: Annotated[int, typer.Option(min=0, max=3_650, help="For how long; 0 is until it is revoked.")] = 90,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and show it this once.

    Example: laurels tokens create scoreboard --role viewer --days 30
    """
    if not name.strip() or len(name) > 100 or not name.isprintable():  # noqa: PLR2004
        raise typer.BadParameter("a name of up to 100 printable characters", param_hint="NAME")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    with transaction(_connect()) as cursor:
        token, text = create_token(cursor, name=name, role=role, expires_at=expires_at, actor=acting(actor))
    if as_json:
        typer.echo(json.encode({**token._asdict(), "token": text}))
        return
    Console(stderr=True).print(f"{role} token {token.prefix} for {name}; it is not shown again:", markup=False)
    typer.echo(text)


def list_(*, as_json: AsJson = False) -> None:
    """List the tokens there are and were; never their secrets.

    Example: laurels tokens list
    """
    with transaction(_connect()) as cursor:
        tokens = list_tokens(cursor)
    if as_json:
        typer.echo(json.encode({"tokens": [{**token._asdict(), "state": _state(token)} for token in tokens]}))
        return
    table = Table("prefix", "name", "role", "made by", "made", "expires", "state")
    for token in tokens:
        expires = "" if token.expires_at is None else f"{token.expires_at:%Y-%m-%d}"
        made = f"{token.created_at:%Y-%m-%d}"
        table.add_row(token.prefix, token.name, token.role, token.created_by, made, expires, _state(token))
    Console().print(table)


def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="As `laurels tokens list` names it.")],
    *,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End a token at once.

    Example: laurels tokens revoke 0f3a2b1c4d5e
    """
    if re.fullmatch("[0-9a-f]{12}", prefix) is None:
        raise typer.BadParameter("twelve hex digits; `laurels tokens list` names them", param_hint="PREFIX")
    with transaction(_connect()) as cursor:
        token = revoke_token(cursor, prefix, actor=acting(actor))
    if token is None:
        raise LaurelsError(f"there is no token {prefix} that could be revoked")
    typer.echo(json.encode(token._asdict()) if as_json else f"{token.role} token {prefix} of {token.name} is revoked")


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= datetime.now(UTC) else "good"


def _connect() -> Connect:
    return connector(load_settings().database_url, name="laurels tokens")
