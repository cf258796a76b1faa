"""Options that several commands share."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does this, for the record; else your user name here.")]


def acting(actor: str | None) -> str:
    """Who does this: as told, else the user of this machine."""
    return actor or getpass.getuser()


def in_utc(moment: datetime | None) -> datetime | None:
    """A time given on the command line, which means UTC where it says nothing else."""
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)
