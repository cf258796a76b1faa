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
from ops.options import Actor, AsJson, acting, known_topic, past_moment
from schemas.errors import LaurelsError
from schemas.rewards import RefusalReason
from schemas.settings import load_settings
from sinks.database import Connect, connector, transaction
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
from streams.retry import NotRetried, retry_dead_letter

PAGE = 500

Topic = Annotated[str | None, typer.Option(callback=known_topic, help="Only of this topic.")]
Reason = Annotated[RefusalReason | None, typer.Option(help="Only with this reason.")]
User = Annotated[int | None, typer.Option("--user", min=1, help="Only of this user.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=past_moment, metavar="TIME", help="Only recorded since then; UTC unless it says otherwise."),
]
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
    wanted = Filter(topic=topic, reason=reason, status=status, user_id=user_id, since=since)
    with transaction(_connect()) as cursor:
        counts = count_dead_letters(cursor, wanted)
        letters = find_dead_letters(cursor, wanted, after=after, limit=limit)
    if as_json:
        counted = [{"reason": reason, "status": status, "count": count} for reason, status, count in counts]
        typer.echo(json.encode({"counts": counted, "dead_letters": [summary(letter) for letter in letters]}))
        return
    where, why = Column("where", no_wrap=True), Column("reason", no_wrap=True)
    table = Table(
        "id", Column("recorded", min_width=10), where, "user", why, "status", "detail", box=None, pad_edge=False
    )
    for letter in letters:
        place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        user = "" if letter.user_id is None else str(letter.user_id)
        recorded = f"{letter.recorded_at:%Y-%m-%d %H:%M:%S}"
        detail = Text(letter.detail, overflow="ellipsis", no_wrap=True)
        table.add_row(str(letter.id), recorded, place, user, letter.reason, letter.status, detail)
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
    with transaction(_connect()) as cursor:
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
    retried: publish a revision, or a new command. Exits with 1 when any was refused again, 3 when
    one of the ids cannot be retried, which keeps none of the others from it.

    Examples: laurels dlq retry 17 18

      laurels dlq retry --topic session-attendance --reason refused_by_database
    """
    wanted = Filter(topic=topic, reason=reason, status="open", user_id=user_id, since=since, ids=ids)
    _refuse_unless_named(wanted, everything=everything, or_else="ids, a filter, or --all")
    connect = _connect()
    outcomes, unfit = [], []
    for id_ in ids or _open(connect, wanted):
        try:
            retried = retry_dead_letter(connect, id_, actor=acting(actor))
        except NotRetried as error:
            # One that only a filter named may have been dealt with by somebody else since it was found.
            unfit += [str(error)] if ids else []
            continue
        outcomes.append(retried)
        if not as_json:
            why = f": {retried.reason}: {retried.detail}" if retried.outcome == "refused" else ""
            typer.echo(f"{retried.id}: {retried.outcome}{why}")
    refused = sum(retried.outcome == "refused" for retried in outcomes)
    if as_json:
        typer.echo(json.encode({"retried": [retried._asdict() for retried in outcomes], "refused": refused}))
    if unfit:
        raise LaurelsError("; ".join(unfit))
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
    wanted = Filter(topic=topic, reason=reason, status="open", user_id=user_id, since=since, ids=ids)
    _refuse_unless_named(wanted, everything=False, or_else="ids or a filter")
    with transaction(_connect()) as cursor:
        letters = list(_pages(cursor, wanted))
        missing = set(ids or ()) - {letter.id for letter in letters}
        if missing:
            message = f"nothing was dropped: there are no open dead letters {', '.join(map(str, sorted(missing)))}"
            raise LaurelsError(message)
        dropped = [letter.id for letter in letters if mark_dropped(cursor, letter, actor=acting(actor), reason=because)]
    typer.echo(json.encode({"dropped": dropped}) if as_json else f"dropped {len(dropped)}")


def _connect() -> Connect:
    return connector(load_settings().database_url, name="laurels dlq")


def _refuse_unless_named(wanted: Filter, *, everything: bool, or_else: str) -> None:
    """One way of saying which, and no other: what an id means must not depend on what else is typed."""
    filtered = wanted._replace(ids=None) != Filter(status="open")
    if bool(wanted.ids) + filtered + everything != 1:
        message = f"say which in one way: {or_else}"
        raise typer.BadParameter(message)


def _pages(cursor: Cursor, wanted: Filter) -> Iterator[DeadLetter]:
    after = 0
    while page := find_dead_letters(cursor, wanted, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def _open(connect: Connect, wanted: Filter) -> Iterator[int]:
    with closing(connect()) as connection, connection.cursor() as cursor:
        connection.set_session(autocommit=True)
        for letter in _pages(cursor, wanted):
            yield letter.id
