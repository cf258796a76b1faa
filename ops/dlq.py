"""`laurels dlq`: dead letters, and what an operator does about them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer
from msgspec import json
from psycopg2.extensions import cursor as Cursor
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting, in_utc
from schemas.errors import LaurelsError
from schemas.settings import load_settings
from sinks.database import Connect, connector
from sinks.dead_letters import (
    DeadLetter,
    Filter,
    Status,
    count_dead_letters,
    fetch_dead_letters,
    find_dead_letters,
    mark_dropped,
)
from sinks.dead_letters_told import summary, whole
from streams.retry import NotRetried, Retried, retry_dead_letter

PAGE = 500

Topic = Annotated[str | None, typer.Option(help="Only of this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason, such as invalid_event.")]
User = Annotated[int | None, typer.Option("--user", min=1, help="Only of this user.")]
Since = Annotated[datetime | None, typer.Option(help="Only recorded since then (UTC).")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Dead letters by their ids.")]


def register(app: typer.Typer) -> None:
    """Add `dlq` to the command line."""
    dlq = typer.Typer(no_args_is_help=True)
    dlq.callback()(_dlq)
    dlq.command("list")(list_)
    dlq.command()(show)
    dlq.command()(retry)
    dlq.command()(drop)
    app.add_typer(dlq, name="dlq")


def _dlq() -> None:
    """Look at dead letters, retry them or give them up. None is ever removed."""


def list_(
    *,
    topic: Topic = None,
    reason: Reason = None,
    status: Annotated[Status | None, typer.Option(help="Only in this state.")] = None,
    user_id: User = None,
    since: Since = None,
    after: Annotated[int, typer.Option(min=0, help="From the one after this id.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first.

    Example: laurels dlq list --topic tournament-results --status open
    """
    wanted = Filter(topic=topic, reason=reason, status=status, user_id=user_id, since=in_utc(since))
    with closing(_connect()()) as connection, connection, connection.cursor() as cursor:
        counts = count_dead_letters(cursor, wanted)
        letters = find_dead_letters(cursor, wanted, after=after, limit=limit)
    if as_json:
        counted = [{"reason": reason, "status": status, "count": count} for reason, status, count in counts]
        typer.echo(json.encode({"counts": counted, "dead_letters": [summary(letter) for letter in letters]}))
        return
    table = Table("id", "recorded", Column("where", no_wrap=True), "user", "reason", "status", "detail")
    for letter in letters:
        where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        user = "" if letter.user_id is None else str(letter.user_id)
        recorded = f"{letter.recorded_at:%Y-%m-%d %H:%M:%S}"
        detail = Text(letter.detail, overflow="ellipsis", no_wrap=True)
        table.add_row(str(letter.id), recorded, where, user, letter.reason, letter.status, detail)
    console = Console()
    console.print(table)
    console.print(
        ", ".join([f"{len(letters)} shown", *(f"{count} {reason} {status}" for reason, status, count in counts)])
    )


def show(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1)],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: its bytes, headers, coordinates, reason and history.

    Example: laurels dlq show 17
    """
    with closing(_connect()()) as connection, connection, connection.cursor() as cursor:
        letter = fetch_dead_letters(cursor, [id_]).get(id_)
    if letter is None:
        message = f"there is no dead letter {id_}"
        raise LaurelsError(message)
    told = whole(letter)
    if as_json:
        typer.echo(json.encode(told))
        return
    for name, value in told.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.encode(value).decode()}")


def retry(
    *,
    ids: Ids = None,
    topic: Topic = None,
    reason: Reason = None,
    user_id: User = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open dead letter.")] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Record dead letters that can be recorded by now, by the same path and keys: none can pay twice.

    What is refused again stays open, with the new reason. `final` ones (conflicts, refused commands) cannot be
    retried: publish a revision, or a new command. Exits with 1 when any was refused again.

    Examples: laurels dlq retry 17 18

      laurels dlq retry --topic session-attendance --reason refused_by_database
    """
    wanted = Filter(topic=topic, reason=reason, status="open", user_id=user_id, since=in_utc(since), ids=ids)
    if not everything:
        _refuse_unless_named(wanted, or_else="ids, a filter, or --all")
    connect = _connect()
    who = acting(actor)
    if ids:
        outcomes = [retry_dead_letter(connect, id_, actor=who) for id_ in ids]
    else:
        outcomes = list(_retry_all(connect, wanted, who))
    refused = sum(retried.outcome == "refused" for retried in outcomes)
    if as_json:
        typer.echo(json.encode({"retried": [retried._asdict() for retried in outcomes], "refused": refused}))
    else:
        for retried in outcomes:
            why = f": {retried.reason}: {retried.detail}" if retried.outcome == "refused" else ""
            typer.echo(f"{retried.id}: {retried.outcome}{why}")
    if refused:
        raise typer.Exit(EXIT_DIFFERENT)


def drop(
    *,
    because: Annotated[str, typer.Option(help="Why they may be given up; kept with them.")],
    ids: Ids = None,
    topic: Topic = None,
    reason: Reason = None,
    user_id: User = None,
    since: Since = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Give open dead letters up, for a reason: all of those named, or none. They stay on record.

    Examples: laurels dlq drop 17 18 --because "test data of the old app"

      laurels dlq drop --topic session-attendance --reason undecodable --because "sent by a broken gateway"
    """
    if not because.strip():
        raise typer.BadParameter("giving up needs a reason", param_hint="--because")
    wanted = Filter(topic=topic, reason=reason, status="open", user_id=user_id, since=in_utc(since), ids=ids)
    _refuse_unless_named(wanted, or_else="ids or a filter")
    with closing(_connect()()) as connection, connection, connection.cursor() as cursor:
        letters = list(_pages(cursor, wanted))
        missing = set(ids or ()) - {letter.id for letter in letters}
        if missing:
            message = f"nothing was dropped: not open are {', '.join(map(str, sorted(missing)))}"
            raise LaurelsError(message)
        dropped = [letter.id for letter in letters if mark_dropped(cursor, letter, actor=acting(actor), reason=because)]
    typer.echo(json.encode({"dropped": dropped}) if as_json else f"dropped {len(dropped)}")


def _connect() -> Connect:
    return connector(load_settings().database_url, name="laurels dlq")


def _refuse_unless_named(wanted: Filter, *, or_else: str) -> None:
    if wanted == Filter(status="open"):
        message = f"say which: {or_else}"
        raise typer.BadParameter(message)


def _pages(cursor: Cursor, wanted: Filter) -> Iterator[DeadLetter]:
    after = 0
    while page := find_dead_letters(cursor, wanted, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def _retry_all(connect: Connect, wanted: Filter, actor: str) -> Iterator[Retried]:
    with closing(connect()) as connection, connection.cursor() as cursor:
        connection.set_session(autocommit=True)
        for letter in _pages(cursor, wanted):
            try:
                yield retry_dead_letter(connect, letter.id, actor=actor)
            except NotRetried:
                # Somebody else has dealt with it since it was found.
                continue
