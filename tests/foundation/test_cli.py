"""The command line: what it lists, and what an error looks like."""

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import typer

from ops.cli import COMMANDS, EXITS, Command, build_app, main
from tests.schemas.examples import encoded
from tests.services.databases import cloned
from tests.services.run import ROOT, Service

SELF_EVIDENT = {"up", "worker", "api", "relay", "doctor"}
"""Commands that are run as they are, by their names alone."""

EXISTING = [command for command in COMMANDS if importlib.util.find_spec(command.module)]


@pytest.fixture(scope="module")
def legacy_academy(postgres: Service) -> Iterator[str]:
    """One database, for all that only look at it, that Laurels has not adopted."""
    with cloned(postgres, "legacy") as url:
        yield url


@pytest.fixture(scope="module")
def academy(postgres: Service) -> Iterator[str]:
    """One database, for all that only look at it, that is migrated."""
    with cloned(postgres, "template") as url:
        yield url


def laurels(*arguments: str, out: int | IO[str] = subprocess.PIPE, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", **environ},
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", EXISTING, ids=lambda command: command.name)
def test_every_command_is_registered_under_the_name_that_help_lists(command: Command) -> None:
    app = typer.Typer()
    importlib.import_module(command.module).register(app)
    names = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    names |= {each.name for each in app.registered_groups if isinstance(each.name, str)}
    assert command.name in names


@pytest.mark.parametrize("command", EXISTING, ids=lambda command: command.name)
def test_the_help_of_every_command_has_an_example_and_its_exit_codes(command: Command) -> None:
    group: Any = typer.main.get_command(build_app([command.name]))
    leaves = dict(_leaves(command.name, group.commands[command.name]))
    assert leaves
    for name, leaf in leaves.items():
        assert leaf.epilog == EXITS, name
        assert "xample" in leaf.help or name in SELF_EVIDENT, name


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command, or those below it, by their whole names."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
    for part, each in (below or {}).items():
        yield from _leaves(f"{name} {part}", each)


def test_help_lists_every_command_without_importing_a_client() -> None:
    program = (
        "import sys; from ops.cli import build_app\n"
        "build_app(['--help'])\n"
        "print({'psycopg2', 'confluent_kafka', 'faust', 'fastapi', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    listed = [command.name for command in build_app([]).registered_commands]
    assert listed == [command.name for command in EXISTING]


def test_help_answers() -> None:
    done = laurels("--help")
    assert done.returncode == 0
    for command in EXISTING:
        assert command.name in done.stdout


def test_an_error_that_a_person_can_mend_is_one_line_and_an_exit_code() -> None:
    done = laurels("migrate", LAURELS_LOG_LEVEL="shouting")
    assert done.returncode == 3
    assert done.stderr.startswith("laurels: LAURELS_LOG_LEVEL: input should be")
    assert done.stderr.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_line_without_the_password() -> None:
    done = laurels("migrate", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/db")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", ["topics", "publish {events} --topic session-attendance --json"])
def test_brokers_that_do_not_answer_are_one_line_and_their_client_adds_nothing(command: str, tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.write_bytes(encoded("session-attendance"))
    impatient = (
        "import sys; from ops import cli, publish, topics\n"
        "publish.TIMEOUT_SECONDS = topics._TIMEOUT_SECONDS = 1\n"
        "cli.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", impatient, *command.format(events=events).split()],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("laurels: ")
    assert done.stderr.count("\n") == 1
    assert not done.stderr.endswith(": \n"), "it does not say why"


@pytest.mark.parametrize(
    "command",
    [
        "dlq list",
        "ledger balance --user 1",
        "ledger verify-chain",
        "positions list",
        "rules diff active",
        "replay status",
        "explain user 1",
        "alerts list",
    ],
)
def test_a_database_that_is_not_migrated_says_what_mends_it(
    legacy_academy: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", legacy_academy)
    with pytest.raises(SystemExit) as exit_:
        main(command.split())
    told = capsys.readouterr().err
    assert exit_.value.code == 3
    assert told.startswith("laurels: this database is not up to date, run `laurels migrate`:")
    assert told.count("\n") == 1


PRINTS = [
    "--help",
    "bench --help",
    "generate --users 200",
    "rules lint schemas/rulesets/academy.toml --json",
    "positions list",
    "positions list --json",
    "migrate",
]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", PRINTS)
def test_a_full_disk_under_standard_output_is_one_line(academy: str, command: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = laurels(*command.split(), out=full, DATABASE_URL=academy, PYTHONUNBUFFERED=unbuffered)
    assert done.stderr.startswith("laurels: ")
    assert done.stderr.endswith(": No space left on device\n")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 3


@pytest.mark.parametrize("command", PRINTS)
def test_whoever_has_read_enough_hears_nothing(academy: str, command: str) -> None:
    with closed_pipe() as pipe:
        done = laurels(*command.split(), out=pipe, DATABASE_URL=academy, PYTHONUNBUFFERED="")
    assert done.stderr == ""
    assert done.returncode in {0, 1}


def test_what_is_printed_at_the_very_end_is_no_exception() -> None:
    program = (
        "import typer; from ops import cli\n"
        "app = typer.Typer()\n"
        "app.command()(lambda: print('told'))\n"
        "cli.build_app = lambda _: app\n"
        "cli.main([])"
    )
    environ = {**os.environ, "PYTHONUNBUFFERED": ""}
    with closed_pipe() as pipe, Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = [
            subprocess.run(
                [sys.executable, "-c", program], cwd=ROOT, env=environ, stdout=out, stderr=subprocess.PIPE, check=False
            )
            for out in (pipe, full)
        ]
    assert [(done.returncode, done.stderr) for done in ended] == [
        (1, b""),
        (3, b"laurels: nothing more can be written: No space left on device\n"),
    ]


@contextmanager
def closed_pipe() -> Iterator[IO[str]]:
    """What `| head` leaves behind."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        yield pipe


def test_a_command_that_does_not_exist_is_a_wrong_use() -> None:
    done = laurels("migrte")
    assert done.returncode == 2
    assert "migrate" in done.stderr
