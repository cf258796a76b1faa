"""`laurels doctor`: everything that Laurels needs, looked at, and how to mend what is not well."""

from collections.abc import Callable, Iterator
from typing import Final

import typer
from msgspec import json
from rich.console import Console

from ops.checks.finding import Finding, failed, warning
from ops.checks.kafka import check_kafka
from ops.checks.machine import check_machine
from ops.checks.postgres import check_postgres
from ops.cli import EXIT_DIFFERENT
from ops.options import AsJson
from schemas.errors import LaurelsError
from schemas.settings import Settings, SettingsError, load_settings

_MARKS: Final = {"well": "[green]well   [/]", "warning": "[yellow]warning[/]", "failed": "[red]failed [/]"}


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command("doctor")(doctor)


def doctor(*, as_json: AsJson = False) -> None:
    """Look at everything Laurels needs: Python, packages, Postgres, the broker, the topics, the schema, the disk.

    Each failure comes with its mend. Exits with 1 if something failed; warnings do not count.
    Example: laurels doctor
    """
    findings = []
    console = Console(quiet=as_json, soft_wrap=True, highlight=False)
    for finding in look():
        findings.append(finding)
        console.print(_MARKS[finding.state], end=" ")
        console.print(f"{finding.name}: {finding.found}", markup=False)
        if finding.mend:
            console.print(f"        mend: {finding.mend}", markup=False)
    good = all(finding.state != "failed" for finding in findings)
    if as_json:
        typer.echo(json.encode({"well": good, "findings": findings}))
    raise typer.Exit(0 if good else EXIT_DIFFERENT)


def look() -> Iterator[Finding]:
    """Every finding, as it is made; one that cannot be made is a finding, too."""
    yield from check_machine()
    try:
        settings = load_settings()
    except SettingsError as error:
        yield failed("settings", str(error), "set it right in the environment or in .env")
        return
    yield from _ask("Postgres", settings, check_postgres, given=settings.database)
    yield from _ask("Kafka", settings, check_kafka, given=settings.kafka)


def _ask(
    name: str, settings: Settings, check: Callable[[Settings], Iterator[Finding]], *, given: str | None
) -> Iterator[Finding]:
    if given is None:
        variable = "DATABASE_URL" if name == "Postgres" else "KAFKA_BOOTSTRAP_SERVERS"
        yield warning(name, "none given", f"set {variable}, or start `laurels up` in this folder")
        return
    try:
        yield from check(settings)
    except LaurelsError as error:
        yield failed(name, str(error), "see the message")
