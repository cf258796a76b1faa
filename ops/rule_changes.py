"""`laurels rules diff|simulate|publish`: from a changed file to the active ruleset, with a look at what it does."""

import csv
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import msgspec
import typer
from psycopg2.extensions import cursor as Cursor
from rich.console import Console
from rich.table import Table

from ops.cli import EXIT_DIFFERENT
from ops.named_ruleset import ACTIVE, find_ruleset
from ops.options import Actor, AsJson, acting
from ops.replay.options import From, Partitions, Topics, Users, resolve
from ops.replay.simulation import RULED, Outcome, Rewards, UserOutcome, simulate
from ops.replay.telling import progress_bar
from schemas.ruleset import Ruleset
from schemas.settings import Settings, load_settings
from sinks.database import Timeouts, connector
from sinks.ruleset_store import publish_ruleset

PATIENT = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)

SHOWN = 40
"""As many users are printed; `--json` and `--csv` have them all."""

FIGURES = ("xp", "credits", "skill_points", "badges")

Named = Annotated[str, typer.Argument(metavar="FILE|HASH", help="A ruleset as TOML, or one that was published.")]
To = Annotated[str | None, typer.Option("--to", help="An offset, or a time (UTC), exclusive; else the live position.")]


def diff(
    ruleset: Named,
    against: Annotated[str, typer.Argument(metavar="[FILE|HASH]", help="Else the active one.")] = ACTIVE,
    *,
    as_json: AsJson = False,
) -> None:
    """Show where two rulesets differ, field by field.

    Exits with 0 when they are the same, 1 when they differ. Example: laurels rules diff new.toml
    """
    with _cursor(load_settings()) as cursor:
        old, new = find_ruleset(cursor, against), find_ruleset(cursor, ruleset)
    before, after = dict(_fields(old)), dict(_fields(new))
    changes = [
        {"field": name, "from": before.get(name), "to": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if as_json:
        typer.echo(msgspec.json.encode({"from": old.hash, "to": new.hash, "changes": changes}))
    else:
        for change in changes:
            typer.echo(f"{change['field']}: {change['from']} -> {change['to']}")
        differences = "1 difference" if len(changes) == 1 else f"{len(changes)} differences"
        typer.echo(f"{old.hash} -> {new.hash}: {differences}")
    if changes:
        raise typer.Exit(EXIT_DIFFERENT)


def publish(ruleset: Named, *, actor: Actor = None, as_json: AsJson = False) -> None:
    """Store a ruleset and make it the active one: it decides what is recorded from now on.

    What is recorded keeps the ruleset that its receipt names, corrections included. A hash brings an earlier one back.
    Audited. Example: laurels rules publish new.toml --actor ann
    """
    with _cursor(load_settings()) as cursor:
        wanted = find_ruleset(cursor, ruleset)
        before = publish_ruleset(cursor, wanted, acting(actor))
    if as_json:
        typer.echo(msgspec.json.encode({"active": wanted.hash, "name": wanted.content.name, "before": before}))
    elif before == wanted.hash:
        typer.echo(f"{wanted.hash} ({wanted.content.name}) was active already: nothing changes")
    else:
        typer.echo(f"{wanted.hash} ({wanted.content.name}) is active, before it {before}")


def simulate_command(
    ruleset: Named,
    *,
    topic: Topics = None,
    start: From = None,
    end: To = None,
    partitions: Partitions = None,
    user: Users = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="One line for each user on standard output.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who would have what by a ruleset, against what they have. Writes nothing.

    The difference is what `laurels replay apply --rules` would post: results and attendances that stand are decided again,
    milestones that were paid stay as paid, and what came with an adopted database counts as given.

    Example: laurels rules simulate new.toml --from 2026-01-01 --csv
    """
    if as_csv and as_json:
        raise typer.BadParameter("either --csv or --json", param_hint="--csv")
    if topic and not set(topic) <= set(RULED):
        message = f"rulesets decide {' and '.join(RULED)} alone"
        raise typer.BadParameter(message, param_hint="--topic")
    settings = load_settings()
    with _cursor(settings) as cursor:
        wanted = find_ruleset(cursor, ruleset)
    request = resolve(settings, topic or list(RULED), start, end, partitions, user)
    with _cursor(settings, snapshot=True) as cursor, progress_bar() as bar:
        task = bar.add_task("simulated", total=request.events)
        outcome = simulate(cursor, settings, request, wanted, lambda read: bar.advance(task, read))
    if as_json:
        typer.echo(msgspec.json.encode(outcome))
    elif as_csv:
        typer.echo(_csv(outcome), nl=False)
    else:
        _print(outcome)


def _fields(ruleset: Ruleset) -> Iterator[tuple[str, Any]]:
    yield from _flat("", msgspec.to_builtins(ruleset.content))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _flat(f"{path}.{name}" if path else name, member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _flat(f"{path}[{index}]", member)
    else:
        yield path, value


def _csv(outcome: Outcome) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["user_id", *[f"{side}_{figure}" for figure in FIGURES for side in ("has", "would_have")]])
    for user in outcome.users:
        writer.writerow([user.user_id, *[getattr(side, name) for name in FIGURES for side in _sides(user)]])
    return text.getvalue()


def _sides(of: UserOutcome | Outcome) -> tuple[Rewards, Rewards]:
    return of.has, of.would_have


def _print(outcome: Outcome) -> None:
    table = Table("user", *FIGURES)
    shown: list[tuple[str, UserOutcome | Outcome]] = [(str(user.user_id), user) for user in outcome.users[:SHOWN]]
    for name, each in [*shown, ("all", outcome)]:
        has, would = _sides(each)
        cells = [(getattr(has, figure), getattr(would, figure)) for figure in FIGURES]
        table.add_row(name, *[str(had) if had == gets else f"{had} -> {gets}" for had, gets in cells])
    console = Console()
    console.print(table)
    if len(outcome.users) > SHOWN:
        console.print(f"and {len(outcome.users) - SHOWN} more users: see --csv or --json")
    console.print(f"ruleset {outcome.ruleset}: {outcome.events} events, {len(outcome.users)} users differ")


@contextmanager
def _cursor(settings: Settings, *, snapshot: bool = False) -> Iterator[Cursor]:
    with closing(connector(settings.database_url, name="laurels rules", timeouts=PATIENT)()) as connection:
        if snapshot:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection, connection.cursor() as cursor:
            yield cursor
