"""`laurels explain`: entry <- rule <- ruleset <- receipt <- topic, partition, offset; and a user's whole story."""

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops.options import AsJson
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.database import connector
from sinks.explanation import Row, Story, fetch_story
from streams.explaining import explain


def register(app: typer.Typer) -> None:
    """Add `explain` to the command line."""
    explain = typer.Typer(no_args_is_help=True)
    explain.callback()(_explain)
    explain.command()(entry)
    explain.command()(user)
    app.add_typer(explain, name="explain")


def _explain() -> None:
    """Tell how an entry or a user's rewards came about."""


def entry(
    named: Annotated[str, typer.Argument(metavar="KEY|TABLE:ID")],
    *,
    as_json: AsJson = False,
) -> None:
    """Explain an entry, named by its idempotency key or as table:id, or an event by its event key.

    Examples: laurels explain entry tournament_227_reward_5

      laurels explain entry skill_rewards:17
    """
    settings = load_settings()
    told = explain(settings, named)
    if told is None:
        message = f"no entry and no event is called {named!r}"
        raise LaurelsError(message)
    if as_json:
        typer.echo(json.encode(told))
        return
    for name, value in told.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for member, content in value.items():
                typer.echo(f"  {member}: {_plain(content)}")
        else:
            typer.echo(f"{name}: {_plain(value)}")


def user(
    user_id: Annotated[int, typer.Argument(metavar="USER", min=1)],
    *,
    after: Annotated[int, typer.Option(min=0, help="Receipts from the one after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many receipts at most.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Tell a user's story: balances, progress, and every receipt in its order with the entries it caused.

    Example: laurels explain user 5
    """
    connect = connector(load_settings().database_url, name="laurels explain")
    with closing(connect()) as connection, connection.cursor() as cursor:
        story = fetch_story(cursor, user_id, after=after, limit=limit)
    if story is None:
        message = f"there is no user {user_id}"
        raise LaurelsError(message)
    if as_json:
        typer.echo(json.encode(story._asdict()))
    else:
        _tell(story)


def _tell(story: Story) -> None:
    console = Console()
    user = story.user
    console.print(f"user {user['id']}: {user['xp_balance']} XP, {user['credit_balance']} credits")
    for both in story.progress:
        progress, license_ = both["progress"], both["license"]
        has = "no progress" if progress is None else f"level {progress['current_level']}, {progress['total_xp']} XP"
        holds = "no license" if license_ is None else f"license at level {license_['current_level']}"
        console.print(f"{both['specialization']}: {has}; {holds}")
    table = Table("number", "when", Column("event", overflow="fold"), Column("entries", overflow="fold"))
    for receipt in story.receipts:
        caused = Text("\n".join(_receipt_lines(receipt)))
        table.add_row(str(receipt["seq"]), receipt["occurred_at"][:19], Text(receipt["event_key"]), caused)
    for stray in story.unreceipted:
        table.add_row("", _when(stray), "no receipt", Text(_entry_line(stray)))
    console.print(table)
    if story.next is not None:
        console.print(f"and more: laurels explain user {user['id']} --after {story.next}")


def _when(row: Row) -> str:
    return str(row["advanced_at" if row["table"] == "license_progressions" else "created_at"])[:19]


def _receipt_lines(receipt: Row) -> Iterator[str]:
    """What a receipt caused, or that it caused nothing: its entries, its badges, a refusal."""
    yield from map(_entry_line, receipt["entries"])
    grant = receipt["grant"]
    for badge in grant.get("badges", [grant["badge"]] if "badge" in grant else []):
        yield f"badge {badge}"
    for badge in grant.get("revoked", ()):
        yield f"badge {badge} revoked"
    if "refused" in grant:
        yield f"refused: {grant['refused']}"
    if receipt["event_key"].startswith("transfer_") and not receipt["entries"]:
        yield "not covered by the balance"


def _entry_line(row: Row) -> str:
    match row["table"]:
        case "skill_rewards":
            return f"{row['points_awarded']:+d} {row['skill_name']}"
        case "license_progressions":
            return f"{row['specialization_id']} level {row['from_level']} -> {row['to_level']}"
        case table:
            unit = "XP" if table == "xp_transactions" else "credits"
            return f"{row['amount']:+d} {unit} {row['transaction_type']}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.encode(value).decode()
