"""The `laurels` command: which commands there are, which module brings each, and what an error looks like."""

import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import typer

from schemas.errors import LaurelsError
from schemas.logs import redact

EXIT_DIFFERENT: Final = 1
"""The command ran, and what it was asked to prove is not so."""
EXIT_FAILED: Final = 3
"""The command could not do its work; 2 is a wrong use of it."""
EXIT_INTERRUPTED: Final = 130

EXITS: Final = (
    "Exits with 0 when done and as it should be, 1 when something differs, was refused or was halted, 2 for a wrong use, "
    "3 when it could not do its work, 130 when interrupted."
)


@dataclass(frozen=True, slots=True)
class Command:
    """A name on the command line; `module` has `register(app)`, which adds it and perhaps others to a Typer app.

    `role` is the database role that may do all that the command does.
    """

    name: str
    module: str
    summary: str
    role: str = "laurels_worker"


_OWNER: Final = "the tables' owner"
_OPERATOR: Final = "laurels_operator"

COMMANDS: Final = (
    Command("up", "ops.up", "Run everything on this machine."),
    Command("worker", "ops.worker", "Record what the topics bring."),
    Command("api", "ops.api", "Serve HTTP: publishing, reads, administration, the console."),
    Command("tokens", "ops.tokens", "Make tokens for the API, list them, revoke them.", role="laurels_api"),
    Command("relay", "ops.relay", "Relay the outbox to Kafka, without a worker."),
    Command("migrate", "ops.migrate", "Bring the database up to date, or adopt an academy's own.", role=_OWNER),
    Command("doctor", "ops.doctor", "Check everything Laurels needs, and say what to mend."),
    Command("topics", "ops.topics", "Create the topics."),
    Command("publish", "ops.publish", "Publish events from JSONL."),
    Command("generate", "ops.generate", "Make realistic events."),
    Command("verify", "ops.verify", "Prove that Postgres holds what the topics say.", role="laurels_readonly"),
    Command(
        "positions",
        "ops.positions",
        "See where reading stands, move it to another cluster, accept a loss.",
        role=_OPERATOR,
    ),
    Command("dlq", "ops.dlq", "Look at dead letters, retry them or give them up.", role=_OPERATOR),
    Command(
        "sync", "ops.sync", "Find where progress and license disagree, plan repairs and apply them.", role=_OPERATOR
    ),
    Command(
        "coupling",
        "ops.coupling",
        "Check progress against license, and have the database refuse what parts them.",
        role=_OWNER,
    ),
    Command("reconcile", "ops.reconcile", "Check every invariant, raise alerts and resolve them.", role=_OPERATOR),
    Command("alerts", "ops.alerts", "Look at alerts, silence and acknowledge them.", role=_OPERATOR),
    Command(
        "ledger",
        "ops.ledger",
        "Look into the ledger's past, export it, and prove that nobody tampered with it.",
        role=_OPERATOR,
    ),
    Command("erase", "ops.erase", "Erase what is personal about a user.", role=_OWNER),
    Command("explain", "ops.explain", "Tell how an entry or a user's rewards came about.", role="laurels_readonly"),
    Command(
        "replay",
        "ops.replay",
        "Read a range of the topics again, and record what is missing.",
        role=_OPERATOR,
    ),
    Command("repair", "ops.repair", "Mend what the ledger says and a table does not.", role=_OPERATOR),
    Command("rules", "ops.rules", "Check, compare and publish rulesets.", role=_OPERATOR),
    Command("bench", "ops.bench", "Measure throughput and latency."),
)


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The command line as far as `arguments` need it: the named command alone, or only what `--help` lists.

    The modules behind the commands import Kafka and Postgres clients, which `laurels --help` need not wait for.
    """
    app = typer.Typer(
        name="laurels",
        help="The exactly-once reward ledger: Kafka events in, Postgres rewards out, proved all the time.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_laurels)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in COMMANDS:
        if command.name == wanted:
            importlib.import_module(command.module).register(app)
            _tell_exits(app)
        else:
            app.command(command.name, help=command.summary)(_nothing)
    return app


def _tell_exits(app: typer.Typer) -> None:
    """Have every command's help end with what its exit codes mean; those that mean more by them say so themselves."""
    for command in app.registered_commands:
        command.epilog = EXITS
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _tell_exits(group.typer_instance)


def _laurels() -> None:
    """With a callback, Typer keeps a single command's name instead of running it without being named."""


def _nothing() -> None:
    """Stands for a command that `--help` lists and nobody asked to run."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error that a person can mend is one line, not a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(given)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever reads has enough (`| head`); with this code Typer ends where it is the first to hear of it.
        _let_go_of_output()
        sys.exit(EXIT_DIFFERENT)
    except Exception as error:
        message = _explained(error, given)
        if message is None:
            raise
        _fail(message)


def _run(arguments: Sequence[str]) -> None:
    """Run the command, and see that what it printed is written: of what Python writes at its exit nobody is told."""
    try:
        build_app(arguments)(arguments)
    except SystemExit:
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _explained(error: Exception, arguments: Sequence[str]) -> str | None:
    """What a person is told of an error that is a wrong input or a service's; None where it is a fault of ours."""
    # Asked for here, and not above: only a command that has imported the clients can meet their errors.
    from confluent_kafka import KafkaException  # noqa: PLC0415  `--help` need not wait for it
    from psycopg2 import Error, errors  # noqa: PLC0415

    from sinks.database import NOT_MIGRATED  # noqa: PLC0415

    causes = list(_causes(error))
    refused = next((cause for cause in causes if isinstance(cause, errors.InsufficientPrivilege)), None)
    if refused is not None:
        refusal = str(refused).splitlines()[0]
        return f"Postgres does not permit it: {refusal}; it takes a user who is, or was granted, {_role(arguments)}"
    if isinstance(error, LaurelsError):
        return str(error)
    if isinstance(causes[0], NOT_MIGRATED):
        return f"this database is not up to date, run `laurels migrate`: {causes[0].diag.message_primary}"
    match causes[0]:
        case Error(pgcode=None) as lost:
            return f"Postgres cannot be reached: {lost}"
        case Error() as other:
            return f"Postgres refuses (SQLSTATE {other.pgcode}): {other}"
        case KafkaException() as unanswered:
            return f"Kafka does not answer: {unanswered}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG | errno.EIO) as full:
            # Commands name the files that they write. What is left is standard output, or what the machine itself lacks.
            return f"nothing more can be written: {full.strerror}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error as its client raised it, and those that stand behind it."""
    while error is not None:
        yield getattr(error, "orig", error)
        error = error.__cause__


def _role(arguments: Sequence[str]) -> str:
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    return next((command.role for command in COMMANDS if command.name == named), _OWNER)


def _fail(message: str) -> NoReturn:
    print(f"laurels: {redact(' '.join(message.split()))}", file=sys.stderr)
    _let_go_of_output()
    sys.exit(EXIT_FAILED)


def _let_go_of_output() -> None:
    """Give up what standard output does not take: Python would try once more at its exit, and complain."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
