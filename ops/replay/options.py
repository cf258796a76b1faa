"""The options that say which records are read again, and what they come to."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ops.options import known_topics
from ops.replay.request import Request, find_live, find_parts, parse_bound, parse_partitions
from schemas.events import EVENT_TOPICS
from schemas.settings import Settings
from sinks.database import connector, transaction

Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", callback=known_topics, help="A topic; may be repeated; else all of them."),
]
From = Annotated[str | None, typer.Option("--from", help="An offset, or a time (UTC); else the log's start.")]
To = Annotated[str | None, typer.Option("--to", help="An offset, or a time (UTC), exclusive; else the live position.")]
Partitions = Annotated[str | None, typer.Option("--partitions", help="Such as 0,2,5-7; else all.")]
Users = Annotated[list[int] | None, typer.Option("--user", min=1, help="Only events of this user; may be repeated.")]


def resolve(
    settings: Settings,
    topics: list[str] | None,
    start: str | None,
    end: str | None,
    partitions: str | None,
    users: list[int] | None,
) -> Request:
    """What the options ask for, made definite."""
    now = datetime.now(UTC)
    wanted = tuple(dict.fromkeys(topics or EVENT_TOPICS)), parse_partitions(partitions)
    bounds = parse_bound(start, "--from", now), parse_bound(end, "--to", now)
    with transaction(connector(settings.database_url, name="laurels replay")) as cursor:
        live = find_live(cursor, settings.group, *wanted)
    parts = find_parts(settings, live, start=bounds[0], end=bounds[1])
    return Request(parts=parts, users=tuple(sorted(set(users or ()))))
