"""Bringing a database to a revision of its schema, and telling where it stands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from schemas.errors import DatabaseUnavailable, LaurelsError
from sinks.roles import apply_roles, revoke_roles
from sinks.seeds import seed_ruleset
from sinks.tables import metadata

Progress = Callable[[str], None]

HEAD: Final = "head"
BASE: Final = "base"

_LOCK: Final = 0x6C617572656C73
"""One migration at a time in a database; the number spells the application's name."""

_REHEARSAL_LOCK_TIMEOUT: Final = "5s"


class MigrationFailed(LaurelsError):
    """A migration stopped. What was applied before it stays; run `laurels migrate` again once the cause is mended."""


def migrate_to_head(database_url: str, progress: Progress | None = None) -> None:
    """Bring the database to the newest revision. Safe to repeat, to interrupt, and to run twice at once."""
    migrate_to(database_url, HEAD, progress)


def migrate_to(database_url: str, revision: str, progress: Progress | None = None) -> None:
    """Bring the database to `revision`, up or down (`base` is before the first one)."""
    with _alone(database_url) as connection:
        config = _config(connection, progress)
        script = ScriptDirectory.from_config(config)
        upwards = _upwards(connection, script, revision)
        connection.commit()  # what Alembic finds open it would leave uncommitted
        _walk(config, revision, upwards=upwards)
        lines = _finish(connection, script)
        connection.commit()
        if progress is not None:
            for line in lines:
                progress(line)


@contextmanager
def rehearsal(database_url: str) -> Iterator[tuple[Connection, Callable[[], None]]]:
    """A connection, and a function that migrates to the newest revision within its transaction, which is never committed.

    Exact, since it does the very thing. While it lasts it holds the locks that migrating takes, so it gives up rather
    than wait for one.
    """
    with _alone(database_url) as connection, connection.begin() as transaction:
        connection.execute(text(f"SET LOCAL lock_timeout = '{_REHEARSAL_LOCK_TIMEOUT}'"))
        try:
            yield connection, lambda: _walk(_config(connection, None), HEAD, upwards=True)
        finally:
            transaction.rollback()


def revisions() -> list[str]:
    """Every revision there is, oldest first."""
    script = ScriptDirectory.from_config(_config(None, None))
    return [step.revision for step in reversed(list(script.walk_revisions()))]


def current_revision(connection: Connection) -> str | None:
    """The revision that the database stands at; None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def find_drift(connection: Connection) -> list[str]:
    """Where the database differs from `sinks.tables`, as Alembic sees it; empty when nothing does."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True, "include_object": ours}
    )
    return [repr(difference) for difference in compare_metadata(context, metadata)]


def ours(_object: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:  # noqa: FBT001 - Alembic's call
    """An adopted database has tables of its own that are none of our business."""
    return not (type_ == "table" and reflected and compare_to is None and name not in metadata.tables)


def _upwards(connection: Connection, script: ScriptDirectory, revision: str) -> bool:
    current = current_revision(connection)
    try:
        target = None if revision == BASE else script.get_revision(revision)
        behind = {step.revision for step in script.iterate_revisions(current, BASE)} if current else set()
    except CommandError as error:
        raise MigrationFailed(str(error)) from error
    return target is not None and (target.revision == current or target.revision not in behind)


def _walk(config: Config, revision: str, *, upwards: bool) -> None:
    try:
        (command.upgrade if upwards else command.downgrade)(config, revision)
    except ValueError as error:
        raise MigrationFailed(str(error)) from error
    except DBAPIError as error:
        raise MigrationFailed(f"the database refused: {error.orig}") from error


def _finish(connection: Connection, script: ScriptDirectory) -> list[str]:
    """Privileges and seeds belong to the newest revision; on the way down there is nobody to serve."""
    if current_revision(connection) != script.get_current_head():
        revoke_roles(connection)
        return []
    return [*apply_roles(connection), *seed_ruleset(connection)]


def _config(connection: Connection | None, progress: Progress | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    return config


@contextmanager
def _alone(database_url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    try:
        connecting = engine.connect()
    except DBAPIError as error:
        raise DatabaseUnavailable(f"Postgres cannot be reached: {error.orig}") from error
    with connecting as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        yield connection
