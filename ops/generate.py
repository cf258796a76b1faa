"""`laurels generate`: a realistic season as JSONL, for `laurels publish` to read."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from ops.season import SeasonSpec, generate_season
from schemas.errors import LaurelsError
from schemas.events import MAX_ID

LARGEST: Final = 1_000_000
"""Of each kind, so many at most: users, tournaments and sessions are all planned before the first line is written."""

_DEFAULTS: Final = SeasonSpec()


def register(app: typer.Typer) -> None:
    """Add `generate` to the command line."""
    app.command()(generate)


def generate(
    users: Annotated[int, typer.Option(min=1, max=LARGEST, help="Members of the academy.")] = _DEFAULTS.users,
    tournaments: Annotated[
        int, typer.Option(min=0, max=LARGEST, help="Tournaments, each with a roster.")
    ] = _DEFAULTS.tournaments,
    sessions: Annotated[int, typer.Option(min=0, max=LARGEST, help="Training sessions.")] = _DEFAULTS.sessions,
    seed: Annotated[int, typer.Option(help="The same seed makes the same season.")] = _DEFAULTS.seed,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Fraction sent twice.")] = _DEFAULTS.duplicates,
    corrections: Annotated[float, typer.Option(min=0, max=1, help="Fraction corrected later.")] = _DEFAULTS.corrections,
    poison: Annotated[float, typer.Option(min=0, max=1, help="Fraction of records to be refused.")] = _DEFAULTS.poison,
    first_id: Annotated[
        int, typer.Option(min=1, max=MAX_ID - LARGEST + 1, help="Where the ids of users and sources begin.")
    ] = _DEFAULTS.first_id,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of standard output.")] = None,
) -> None:
    """Make a realistic season: tournaments with rosters, sessions, level commands and transfers, in time order.

    The lines are for `laurels publish`. The same options make the same season.

    For example:

      laurels generate --users 500 --tournaments 60 | laurels publish -

      laurels generate --seed 7 --poison 0.01 -o season.jsonl
    """
    spec = SeasonSpec(
        users=users,
        tournaments=tournaments,
        sessions=sessions,
        seed=seed,
        duplicates=duplicates,
        corrections=corrections,
        poison=poison,
        first_id=first_id,
    )
    try:
        with nullcontext(_standard_output()) if output is None else output.open("wb") as lines:
            write_season(spec, lines)
    except BrokenPipeError:
        # Whoever reads has enough (`| head`). Python would complain when it flushes standard output at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise LaurelsError(f"{output or 'standard output'}: {error.strerror}") from error


def _standard_output() -> BinaryIO:
    if sys.stdout is None:
        raise LaurelsError("standard output is closed: --output names a file instead")
    return sys.stdout.buffer


def write_season(spec: SeasonSpec, lines: BinaryIO) -> int:
    """Write the season's lines; how many there were."""
    count = 0
    for count, line in enumerate(generate_season(spec), 1):  # noqa: B007 - the last number is the answer
        lines.write(line.to_json() + b"\n")
    lines.flush()
    return count
