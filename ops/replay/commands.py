"""The commands of `laurels replay`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Annotated

import msgspec
import psycopg2
import typer
from rich.console import Console

from ops.cli import EXIT_DIFFERENT
from ops.options import Actor, AsJson, acting
from ops.replay import rule_change, runs
from ops.replay.options import From, Partitions, To, Topics, Users, resolve
from ops.replay.planning import Plan, make_plan
from ops.replay.request import Request
from ops.replay.telling import print_outcome, print_plan, print_runs, progress_bar
from schemas.errors import LaurelsError
from schemas.settings import Settings, load_settings
from sinks.database import Connect, Timeouts, connector, transaction
from sinks.ledger.adjusting import DecreaseRefused
from sinks.replay_list import list_current, list_replays
from sinks.replay_runs import RESUMABLE, ReplayRun, Status, create_run, fetch_alive, fetch_planned

PINNED = "pinned"

PATIENT = Timeouts(statement_ms=3_600_000, idle_in_transaction_ms=0)
"""A plan holds one snapshot open while it reads the topics."""

LATEST = 20
"""As many replays are listed, beside those that can be resumed; `--all` lists every one."""

Rate = Annotated[int | None, typer.Option("--rate", min=1, help="So many events a second at most.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, max=64, help="So many ledgers at once, a process each.")]
Rules = Annotated[
    str,
    typer.Option(
        "--rules",
        metavar="pinned|FILE|HASH",
        help="Decide again what is recorded by this ruleset, and post the differences; else what decided it stands.",
    ),
]
AllowDecrease = Annotated[
    bool,
    typer.Option("--allow-decrease", help="With --rules: even where somebody loses XP, credits, points or badges."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="As `laurels replay status` names it.")]


def register(app: typer.Typer) -> None:
    """Add `replay` to the command line."""
    replay = typer.Typer(no_args_is_help=True)
    replay.callback()(_replay)
    for command in (plan, apply, status, pause, resume, cancel):
        replay.command()(command)
    app.add_typer(replay, name="replay")


def _replay() -> None:
    """Read a range of the topics again and record what is missing. What was recorded stays as it is.

    With `--rules` what was recorded is decided again, by another ruleset; the differences are posted as entries of their
    own, under the run's id.
    """


def plan(
    *,
    topic: Topics = None,
    start: From = None,
    end: To = None,
    partitions: Partitions = None,
    user: Users = None,
    rules: Rules = PINNED,
    allow_decrease: AllowDecrease = False,
    as_json: AsJson = False,
) -> None:
    """Show what a replay would insert and change, by table and by user, with the hash that `apply` takes.

    Decides on a snapshot without locks, beside running workers. Writes nothing but the plan's own row in replay_runs.
    Exits with 0, 1 where a ruleset would take something and `--allow-decrease` is not given, 2 for a wrong use, 3 where it
    could not look.

    Examples: laurels replay plan --topic tournament-results --from 2026-03-01 --user 17

      laurels replay plan --rules new.toml
    """
    settings = load_settings()
    with _told():
        request = resolve(settings, topic, start, end, partitions, user)
        request = _ruled(settings, request, rules, allow_decrease=allow_decrease)
        made = _plan(settings, request)
        _keep(settings, request, made)
    if as_json:
        typer.echo(msgspec.json.encode(made))
    else:
        print_plan(made)


def apply(
    *,
    plan_hash: Annotated[
        str | None, typer.Option("--plan", help="Only if it still comes to this plan; its range, if no other is given.")
    ] = None,
    topic: Topics = None,
    start: From = None,
    end: To = None,
    partitions: Partitions = None,
    user: Users = None,
    rules: Rules = PINNED,
    allow_decrease: AllowDecrease = False,
    rate: Rate = None,
    parallel: Parallel = 2,
    announce: Annotated[bool, typer.Option("--announce", help="Let users be notified of what is recorded.")] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Replay: record every event of the range that was not recorded, dated when it happened.

    Beside running workers, never past their positions, resumable at every moment. Exits with 0 when done, 1 when the
    plan has changed, a ruleset would take something or somebody paused it, 3 when it failed, 130 when interrupted:
    `laurels replay resume` goes on.

    Examples: laurels replay apply --plan 3f2a9c0b1d4e5f67 --rate 2000

      laurels replay apply --rules new.toml --allow-decrease
    """
    settings = load_settings()
    with _told():
        if plan_hash is None or any((topic, start, end, partitions, user, rules != PINNED, allow_decrease)):
            request = resolve(settings, topic, start, end, partitions, user)
            request = _ruled(settings, request, rules, allow_decrease=allow_decrease)
        else:
            request = _planned(settings, plan_hash)
        if plan_hash is not None:
            _refuse_changed(_plan(settings, request), plan_hash)
        elif request.ruleset is not None and not request.allow_decrease:
            _plan(settings, request)  # refuses what would take anything before anything is posted
        request = msgspec.structs.replace(request, rate=rate, parallel=parallel, announce=announce, plan=plan_hash)
        with transaction(_connect(settings)) as cursor:
            run = runs.new_run(rule_change.keep(cursor, request, acting(actor)), "running", acting(actor))
            create_run(cursor, run)
        _run(settings, run, as_json=as_json)


def status(
    *,
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Only this one.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run and plan there ever was.")] = False,
    as_json: AsJson = False,
) -> None:
    """List replays with how far they are: what can be resumed, and the latest 20, plans among them.

    One that says it runs while no process does is shown as interrupted.

    Example: laurels replay status
    """
    settings = load_settings()
    with _told(), transaction(_connect(settings)) as cursor:
        if run_id is None:
            listed = list_replays(cursor, None, limit=None) if everything else list_current(cursor, latest=LATEST)
        else:
            listed = [runs.as_row(runs.find(cursor, run_id))]
        alive = fetch_alive(cursor, [row["id"] for row in listed])
        shown = [runs.progress(row, alive=row["id"] in alive) for row in listed]
    if as_json:
        typer.echo(msgspec.json.encode({"replays": shown}))
        return
    print_runs(shown)


def pause(run_id: RunId, *, actor: Actor = None, as_json: AsJson = False) -> None:
    """Let a running replay stop after its current batch.

    Example: laurels replay pause 5b0c2d9e1f3a
    """
    _change(run_id, "paused", ("running",), actor, as_json=as_json)


def cancel(run_id: RunId, *, actor: Actor = None, as_json: AsJson = False) -> None:
    """Give a replay up for good. What it recorded stays.

    Example: laurels replay cancel 5b0c2d9e1f3a
    """
    _change(run_id, "cancelled", ("planned", *RESUMABLE), actor, as_json=as_json)


def resume(run_id: RunId, *, actor: Actor = None, as_json: AsJson = False) -> None:
    """Go on with a replay that was paused, interrupted or killed, from its checkpoints. Exits like `apply`.

    Example: laurels replay resume 5b0c2d9e1f3a
    """
    settings = load_settings()
    with _told():
        with transaction(_connect(settings)) as cursor:
            run = runs.restart(cursor, run_id, acting(actor))
        _run(settings, run, as_json=as_json)


def _ruled(settings: Settings, request: Request, rules: str, *, allow_decrease: bool) -> Request:
    if rules == PINNED:
        if allow_decrease:
            raise typer.BadParameter("only goes with --rules FILE or --rules HASH", param_hint="--allow-decrease")
        return request
    with transaction(_connect(settings)) as cursor:
        return rule_change.choose(cursor, request, rules, allow_decrease=allow_decrease)


def _planned(settings: Settings, plan_hash: str) -> Request:
    with transaction(_connect(settings)) as cursor:
        planned = fetch_planned(cursor, plan_hash)
    if planned is None:
        message = f"there is no plan {plan_hash}: make one with `laurels replay plan`, or repeat its range here"
        raise LaurelsError(message)
    return msgspec.convert(planned.request, Request)


def _plan(settings: Settings, request: Request) -> Plan:
    began = monotonic()
    connection = connector(settings.database_url, name="laurels replay plan", timeouts=PATIENT)()
    with closing(connection), progress_bar() as bar:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        task = bar.add_task("planned", total=request.events)
        with connection.cursor() as cursor:
            made = make_plan(cursor, settings, request, lambda read: bar.advance(task, read))
    made.seconds = round(monotonic() - began, 3)
    return made


def _keep(settings: Settings, request: Request, made: Plan) -> None:
    """Remember the plan's range, so that `apply --plan` needs nothing else. Whoever may only read does without."""
    run = runs.new_run(msgspec.structs.replace(request, plan=made.plan), "planned", acting(None))
    try:
        with transaction(_connect(settings)) as cursor:
            create_run(cursor, run)
    except psycopg2.errors.InsufficientPrivilege:
        Console(stderr=True).print("not permitted to keep the plan: give its range to `apply` as well")


def _refuse_changed(now: Plan, expected: str) -> None:
    if now.plan != expected:
        typer.echo(
            f"laurels: the ledger has moved: this is plan {now.plan} now, look at it before it is applied", err=True
        )
        raise typer.Exit(EXIT_DIFFERENT)


def _run(settings: Settings, run: ReplayRun, *, as_json: bool) -> None:
    console = Console(stderr=True)
    console.print(f"replay {run.id}")
    with progress_bar() as bar:
        task = bar.add_task("replayed", total=msgspec.convert(run.request, Request).events)
        try:
            outcome = runs.run(settings, run, lambda done: bar.advance(task, done))
        except KeyboardInterrupt:
            console.print(f"interrupted: `laurels replay resume {run.id}` goes on")
            raise
    if as_json:
        typer.echo(msgspec.json.encode(outcome))
    else:
        print_outcome(outcome)
    if outcome["status"] == "paused":
        console.print(f"`laurels replay resume {run.id}` goes on")
    if outcome["status"] != "done":
        raise typer.Exit(EXIT_DIFFERENT)


def _change(run_id: str, to: Status, only_from: tuple[Status, ...], actor: str | None, *, as_json: bool) -> None:
    with _told(), transaction(_connect(load_settings())) as cursor:
        runs.change(cursor, run_id, to, only_from, acting(actor))
    typer.echo(msgspec.json.encode({"run": run_id, "status": to}) if as_json else f"replay {run_id} {to}")


@contextmanager
def _told() -> Iterator[None]:
    """A change of rules that is refused differs from what was asked; it is no failure."""
    try:
        yield
    except DecreaseRefused as error:
        typer.echo(f"laurels: {error}", err=True)
        raise typer.Exit(EXIT_DIFFERENT) from error


def _connect(settings: Settings) -> Connect:
    return connector(settings.database_url, name="laurels replay")
