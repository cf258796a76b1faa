"""`laurels migrate`: the database brought up to date, or an academy's own adopted."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from ops.cli import EXIT_DIFFERENT
from schemas.settings import load_settings
from sinks.adoption import Finding, Plan, Report, plan_adoption, report_adoption
from sinks.migration import HEAD, migrate_to


def register(app: typer.Typer) -> None:
    """Add `migrate` to the command line."""
    app.command("migrate")(migrate)


def migrate(
    *,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be removed, changed and backfilled; write nothing.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Show what does not add up after adoption.")] = False,
    to: Annotated[str, typer.Option("--to", help="A revision, up or down; `base` is before the first.")] = HEAD,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Bring the database to the newest revision, adopting an academy's own if that is what it is.

    Interrupted, it goes on where it stopped. `--plan` holds the locks that migrating takes while it looks: give it a
    quiet moment or a copy. `--report` exits with 1 when something does not add up.
    Example: laurels migrate --plan
    """
    url = load_settings().database_url
    if plan:
        planned = plan_adoption(url)
        typer.echo(msgspec.json.encode(planned) if as_json else _describe_plan(planned))
    elif report:
        found = report_adoption(url)
        typer.echo(msgspec.json.encode(found) if as_json else _describe_report(found))
        if any(finding.rows for finding in found.findings):
            raise typer.Exit(EXIT_DIFFERENT)
    else:
        lines: list[str] = []
        migrate_to(url, to, lines.append if as_json else typer.echo)
        typer.echo(msgspec.json.encode({"revision": to, "steps": lines}) if as_json else f"the database is at {to}")


def _describe_plan(plan: Plan) -> str:
    lines = [f"from {plan.revision or 'no revision'} to {plan.newest}"]
    for title, findings in (
        ("would be removed (kept in migration_removed_rows)", plan.removed),
        ("would be changed (old rows kept in migration_removed_rows)", plan.changed),
        ("would be added", plan.added),
        ("would be filled in", plan.backfilled),
    ):
        if findings:
            lines += ["", title, *_describe(findings)]
    if plan.tables:
        lines += ["", f"{'table':<28}{'before':>10}{'removed':>10}{'added':>10}{'after':>10}"]
    for table in plan.tables:
        mark = "" if table.accounted else "  not accounted for"
        lines.append(f"{table.table:<28}{table.before:>10}{table.removed:>10}{table.added:>10}{table.after:>10}{mark}")
    return "\n".join(lines)


def _describe_report(report: Report) -> str:
    findings = [finding for finding in report.findings if finding.rows]
    return "\n".join(["what does not add up", *_describe(findings)] if findings else ["everything adds up"])


def _describe(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"  {finding.table}: {finding.rows} {finding.what}")
        lines += [f"      {msgspec.json.encode(example).decode()}" for example in finding.examples]
    return lines
