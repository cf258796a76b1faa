"""Options that several commands share."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.events import EVENT_TOPICS

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does this, for the record; else your user name here.")]


def acting(actor: str | None) -> str:
    """Who does this: as told, else the user of this machine."""
    return actor or getpass.getuser()


def past_moment(value: str) -> datetime:
    """A time given on the command line that has been, or a wrong use."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        message = f"{value!a} is no time such as 2026-03-01 or 2026-03-01T10:00:00Z"
        raise typer.BadParameter(message) from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        message = f"{value} is in the future"
        raise typer.BadParameter(message)
    return moment


def known_topic(topic: str | None) -> str | None:
    """A topic given on the command line, or none; a name that is none of ours is a wrong use."""
    if topic is not None and topic not in EVENT_TOPICS:
        message = f"{topic} is not one of {', '.join(EVENT_TOPICS)}"
        raise typer.BadParameter(message)
    return topic


def known_topics(topics: list[str] | None) -> list[str] | None:
    """The same of several."""
    for topic in topics or ():
        known_topic(topic)
    return topics
