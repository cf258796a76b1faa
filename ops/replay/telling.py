"""How replays look to whoever reads a terminal: progress, plans, runs, how one ended."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from ops.replay.planning import Plan, UserChange

COUNTS = {
    "recorded": "recorded",
    "adjusted": "adjusted",
    "duplicates": "duplicates",
    "stale": "stale",
    "dead_letters": "dead letters",
}
"""What a run counts, and how it is told."""

SHOWN = 40
"""As many users are printed; `--json` has them all."""


class SpeedColumn(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        """The speed now."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def progress_bar() -> Progress:
    """A bar with rate and time left, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def print_plan(made: Plan) -> None:
    """What would change, by table and by user."""
    console = Console()
    tables = Table("table", "inserted", "changed")
    for name in made.changes:
        tables.add_row(name, str(made.inserted.get(name, 0)), str(made.changed.get(name, 0)))
    console.print(tables)
    users = Table("user", "events", "XP", "credits", "skill points", "badges", "levels")
    total = UserChange(0)
    for user in made.users:
        total.events += user.events
        total.xp += user.xp
        total.credits += user.credits
        total.skill_points += user.skill_points
    for name, user in [*((str(user.user_id), user) for user in made.users[:SHOWN]), ("all", total)]:
        badges = [*user.badges, *(f"-{badge}" for badge in user.revoked)]
        levels = [f"{name} {before}->{after}" for name, before, after in user.levels]
        numbers = (user.events, f"{user.xp:+d}", f"{user.credits:+d}", user.skill_points)
        users.add_row(name, *map(str, numbers), " ".join(badges), " ".join(levels))
    if made.users:
        console.print(users)
    if len(made.users) > SHOWN:
        console.print(f"and {len(made.users) - SHOWN} more users: see --json")
    if made.ruleset is not None:
        console.print(
            f"ruleset {made.ruleset}: gives {made.increases or 'nothing'}, takes {made.decreases or 'nothing'}"
        )
    rows = sum(made.changes.values())
    console.print(f"plan {made.plan}: {made.events} events, {rows} rows, {len(made.users)} users, {made.seconds:.1f} s")


def print_runs(shown: Sequence[Mapping[str, Any]]) -> None:
    """Replays with how far they are."""
    whole = [Column(name, no_wrap=True) for name in ("run", "status", "done")]
    table = Table(*whole, "recorded", "duplicates", "adjusted", "by", "error")
    for row in shown:
        numbers = [str(row["counts"].get(name, 0)) for name in ("recorded", "duplicates", "adjusted")]
        done = f"{row['done']}/{row['events']}"
        table.add_row(row["id"], row["status"], done, *numbers, row["requested_by"], row["error"] or "")
    Console().print(table)


def print_outcome(outcome: Mapping[str, Any]) -> None:
    """How a run ended."""
    counts = ", ".join(f"{outcome['counts'].get(name, 0)} {told}" for name, told in COUNTS.items())
    rate = outcome["events_per_second"]
    typer.echo(f"replay {outcome['run']} {outcome['status']}: {counts} in {outcome['seconds']:.1f} s, {rate} events/s")
