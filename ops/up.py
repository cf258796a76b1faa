"""`laurels up`: everything on this machine, in one supervised process tree."""

import contextlib
import fcntl
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import json

from api.roles import CONSOLE
from ops.cli import EXIT_DIFFERENT, EXIT_INTERRUPTED
from ops.demo import Demo, Summary
from ops.embedded.broker import Broker
from ops.embedded.kafka import ApacheKafka
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.tansu import Tansu
from ops.options import AsJson
from ops.supervision import PARTS, Stopped, Supervisor, deafen, is_ready, listen, start_part
from ops.topics import create_topics
from schemas.errors import LaurelsError
from schemas.settings import SERVICES_FILE, Settings, load_settings
from sinks.database import connector, transaction
from sinks.migration import migrate_to_head
from sinks.tokens import create_token, list_tokens

FOLDER: Final = SERVICES_FILE.parent
"""Everything that `up` keeps, in the folder that it is started in."""


class BrokerKind(StrEnum):
    """Which broker to start where none is given."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class Home:
    """One running `laurels up` and everything it has started, in order."""

    def __init__(self, settings: Settings, broker: BrokerKind) -> None:
        self.settings = settings
        self.supervisor = Supervisor()
        self._broker = broker

    def start(self) -> None:
        """Start what is not given, prepare it, and start the parts on it."""
        own_database = self.settings.database is None
        database = self.settings.database or self._start_postgres()
        servers = self.settings.kafka or self._start_broker()
        environ = {"DATABASE_URL": database, "KAFKA_BOOTSTRAP_SERVERS": servers}
        self.settings = self.settings.model_copy(update={"database": database, "kafka": servers})
        migrate_to_head(self.settings.database_url, lambda line: say(f"  {line}"))
        created = create_topics(self.settings)
        say(f"topics     {len(created)} created" if created else "topics     all there")
        if own_database:
            offer_token(database)
        _offer(environ)
        self._start_parts(environ)

    def _start_postgres(self) -> str:
        postgres = EmbeddedPostgres(FOLDER / "postgres")
        self.supervisor.watch("Postgres", postgres)
        url = postgres.start()
        say(f"Postgres   127.0.0.1:{url.rpartition(':')[2]}, data in {FOLDER / 'postgres'}")
        return url

    def _start_broker(self) -> str:
        kafka = self._broker is BrokerKind.KAFKA
        broker: Broker = ApacheKafka(FOLDER / "kafka", heap="512m") if kafka else Tansu(FOLDER / "tansu")
        self.supervisor.watch("the broker", broker)
        servers = broker.start()
        kept = (
            f"Apache Kafka, log in {FOLDER / 'kafka'}" if kafka else "embedded, its log is in memory and ends with it"
        )
        say(f"broker     {servers} ({kept})")
        return servers

    def _start_parts(self, environ: dict[str, str]) -> None:
        logs = FOLDER / "logs"
        logs.mkdir(exist_ok=True)
        addresses = {}
        for part in PARTS:
            child, address = start_part(part, self.settings, environ, logs)
            self.supervisor.watch(part.name, child)
            addresses[part.name] = address
        for name, address in addresses.items():
            self.supervisor.wait(lambda address=address: is_ready(address), f"{name} was not ready")  # type: ignore[misc]
            say(f"{name:<10} {address} (log: {logs / name}.log)")
        say(f"console    {addresses['api']}{CONSOLE}/")


def offer_token(database_url: str) -> None:
    """Make the first token of a database that is ours, and say it; the next starts have nothing to say."""
    with transaction(connector(database_url, name="laurels up")) as cursor:
        if list_tokens(cursor):
            return
        _, text = create_token(cursor, name="laurels up", role="admin", expires_at=None, actor="laurels up")
    say(f"token      {text} (admin; shown this once, `laurels tokens create` makes others)")


def say(line: str) -> None:
    """Tell whoever watches; a terminal that is gone is told nothing."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def register(app: typer.Typer) -> None:
    """Add `up` to the command line."""
    app.command("up")(up)


def up(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Play a season.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Play the season, prove it, and stop.")] = False,
    broker: Annotated[BrokerKind, typer.Option(help="The broker to start where none is given.")] = BrokerKind.EMBEDDED,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine: Postgres and a broker unless their URLs are given, migrations, worker, API, console.

    Ctrl-C stops it all; the data stay in .laurels, and the next start goes on with them. Meanwhile the other commands
    find the services by themselves when they are run in the same folder.
    With --once the exit code is 0 only if nothing differs, and 130 if it was stopped before it knew. Example: laurels up --demo
    """
    summary: Summary | None = None
    with alone(), contextlib.suppress(Stopped):
        home = Home(load_settings(), broker)
        try:
            listen()
            home.start()
            if demo or once:
                summary = Demo(home.settings, home.supervisor, say).play()
                say(describe(summary))
            if not once:
                say("running; Ctrl-C stops everything")
                while True:
                    home.supervisor.check()
                    time.sleep(0.2)
        finally:
            deafen()
            SERVICES_FILE.unlink(missing_ok=True)
            say("stopping")
            home.supervisor.stop()
    if summary is None:
        raise typer.Exit(EXIT_INTERRUPTED if once else 0)
    if as_json:
        typer.echo(json.encode(summary))
    if once and summary.differences:
        raise typer.Exit(EXIT_DIFFERENT)


def describe(summary: Summary) -> str:
    """The summary in a sentence."""
    return (
        f"{summary.published:,} published = {summary.recorded:,} recorded + {summary.duplicates:,} duplicates "
        f"+ {summary.dead_letters:,} dead letters, in {summary.seconds:.1f} s; "
        + (f"{summary.differences:,} DIFFERENCES" if summary.differences else "nothing differs")
    )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One `laurels up` per folder; what a killed one offered is withdrawn."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LaurelsError(f"`laurels up` runs in this folder already: {Path.cwd()}") from error
        SERVICES_FILE.unlink(missing_ok=True)
        yield


def _offer(environ: dict[str, str]) -> None:
    """Tell the other commands in this folder where everything is; nobody else may read the password."""
    SERVICES_FILE.touch(mode=0o600)
    SERVICES_FILE.write_text("".join(f"{name}={value}\n" for name, value in environ.items()), encoding="utf-8")
