"""`laurels positions`: where reading stands, and the decisions about it that only a person can make."""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Final

import typer
from msgspec import json
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ops.options import Actor, AsJson, acting
from schemas.settings import Settings, load_settings
from sinks import position_moves
from sinks.database import Connect, connector, transaction
from sinks.position_moves import ListedPosition
from streams.logs import Logs

Group = Annotated[str | None, typer.Option(help="The consumer group; else the one in the settings.")]

LOG_CHARACTERS: Final = 8
"""So many of a log's id, without its cluster's, are shown; `--json` has it whole."""


def register(app: typer.Typer) -> None:
    """Add `positions` to the command line."""
    positions = typer.Typer(no_args_is_help=True)
    positions.callback()(_positions)
    positions.command("list")(list_)
    positions.command()(adopt)
    positions.command()(skip)
    app.add_typer(positions, name="positions")


def _positions() -> None:
    """See where reading stands, move to another cluster, accept what a log has lost."""


def list_(
    *,
    group: Annotated[str | None, typer.Option(help="Only of this consumer group.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every partition's position, what was left to read when it was last written, and who owns it.

    Example: laurels positions list --topic tournament-results
    """
    with transaction(_connect(load_settings())) as cursor:
        listed = position_moves.list_positions(cursor, group, topic)
    if as_json:
        typer.echo(json.encode({"positions": listed}))
        return
    _print(listed)


def _print(listed: Sequence[ListedPosition]) -> None:
    """A table for each that owns some, to fit 80 columns, and below it whole sentences on what is stopped."""
    if not listed:
        typer.echo("no positions")
    by_owner = groupby(sorted(listed, key=_whose), key=_whose)
    for number, ((group, owner), owned) in enumerate(by_owner):
        if number:
            typer.echo()
        typer.echo(f"group {group}, owned by {owner or 'nobody'}")
        _print_owned(list(owned))


def _whose(position: ListedPosition) -> tuple[str, str]:
    return position.group, position.owner or ""


def _print_owned(owned: Sequence[ListedPosition]) -> None:
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("next", "end", "lag", "epoch")]
    log = Column("log", overflow="ellipsis")  # its beginning tells it from another: this gives way
    updated = Column("updated", no_wrap=True)
    table = Table(
        Column("partition", no_wrap=True), *numbers, log, updated, box=None, pad_edge=False, collapse_padding=True
    )
    for position in owned:
        table.add_row(
            _place(position),
            str(position.next_offset),
            str(position.end_offset),
            str(position.lag),
            str(position.epoch),
            position.log_id.rpartition("/")[2][:LOG_CHARACTERS],
            f"{position.updated_at:%Y-%m-%d %H:%M:%S}",
        )
    console = Console()
    console.print(table)
    for position in owned:
        if position.stopped is not None:
            console.print(Text(f"{_place(position)} is stopped: {position.stopped}"))


def _place(position: ListedPosition) -> str:
    return f"{position.topic}[{position.partition}]"


def adopt(*, group: Group = None, actor: Actor = None, as_json: AsJson = False) -> None:
    """Say that the move to this Kafka cluster is meant: its logs are read from their start.

    Events that were recorded from the old cluster are duplicates there, so reading them again changes nothing. Stop
    the workers first: one that still reads the old cluster is fenced.
    Example: laurels positions adopt
    """
    settings = load_settings()
    logs = Logs(settings.librdkafka(), prefix=settings.topic_prefix)
    cluster_id = logs.cluster_id()
    wanted = group or settings.group
    with transaction(_connect(settings)) as cursor:
        topics = {position.topic for position in position_moves.list_positions(cursor, wanted, None)}
    # Between two transactions: Kafka may take longer to answer than Postgres lets one wait.
    states = logs.states(logs.partitions(topics)) if topics else {}
    with transaction(_connect(settings)) as cursor:
        adopted = position_moves.adopt(cursor, wanted, cluster_id, states, acting(actor))
    if as_json:
        typer.echo(json.encode({"cluster": cluster_id, "adopted": [position._asdict() for position in adopted]}))
        return
    for position in adopted:
        fate = "no such partition there, forgotten" if position.new_log_id is None else "is read from its start"
        unread = f"; {position.unread} offsets of the old log were never read" if position.unread else ""
        typer.echo(f"{position.topic}[{position.partition}]: {fate}{unread}")
    typer.echo(f"{len(adopted)} positions of group {wanted} moved to cluster {cluster_id}")


def skip(
    topic: Annotated[str, typer.Argument(help="The topic, without the prefix of the settings.")],
    partition: Annotated[int, typer.Argument(min=0)],
    *,
    group: Group = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Accept what a stopped partition has lost, and let it be read on where its log goes on.

    `laurels positions list` says what is missing. A running worker goes on within seconds.
    Example: laurels positions skip tournament-results 3
    """
    settings = load_settings()
    where = (topic, partition)
    state = Logs(settings.librdkafka(), prefix=settings.topic_prefix).states([where])[where]
    with transaction(_connect(settings)) as cursor:
        skipped = position_moves.skip(cursor, group or settings.group, where, state, acting(actor))
    if as_json:
        typer.echo(json.encode(skipped._asdict()))
        return
    typer.echo(f"{topic}[{partition}] goes on at {skipped.to_offset} instead of {skipped.from_offset}")


def _connect(settings: Settings) -> Connect:
    return connector(settings.database_url, name="laurels positions")
