"""`laurels rules`: rulesets, as files and as the database has them."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ops.cli import EXIT_DIFFERENT
from ops.rule_changes import diff, publish, simulate_command
from schemas.ruleset import InvalidRuleset, parse_ruleset


class LintedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found in one file: a ruleset, or problems."""

    file: str
    ruleset: str | None = None
    hash: str | None = None
    problems: tuple[str, ...] = ()


def register(app: typer.Typer) -> None:
    """Add `rules` to the command line."""
    rules = typer.Typer(no_args_is_help=True)
    rules.callback()(_rules)
    rules.command()(lint)
    rules.command()(diff)
    rules.command("simulate")(simulate_command)
    rules.command()(publish)
    app.add_typer(rules, name="rules")


def _rules() -> None:
    """Check rulesets, compare them, see what one would do, and make it the active one."""


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Rulesets, as TOML.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,  # noqa: FBT002
) -> None:
    """Check rulesets, and list everything that is wrong with them.

    Exits with 1 when anything is. Example: laurels rules lint schemas/rulesets/academy.toml
    """
    linted = [_lint_file(file) for file in files]
    sound = not any(result.problems for result in linted)
    if as_json:
        typer.echo(msgspec.json.encode({"ok": sound, "files": linted}))
    else:
        for result in linted:
            _show(result)
    if not sound:
        raise typer.Exit(EXIT_DIFFERENT)


def _lint_file(file: Path) -> LintedFile:
    try:
        ruleset = parse_ruleset(file.read_text(encoding="utf-8"))
    except InvalidRuleset as invalid:
        return LintedFile(file=str(file), problems=tuple(invalid.problems))
    except UnicodeDecodeError as error:
        return LintedFile(file=str(file), problems=(f"not UTF-8 at byte {error.start}",))
    except OSError as error:
        return LintedFile(file=str(file), problems=(f"cannot be read: {error.strerror}",))
    return LintedFile(file=str(file), ruleset=ruleset.content.name, hash=ruleset.hash)


def _show(result: LintedFile) -> None:
    if not result.problems:
        typer.echo(f"{result.file}: ok, {result.ruleset} {result.hash}")
    for problem in result.problems:
        typer.echo(f"{result.file}: {problem}")
