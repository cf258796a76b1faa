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
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from sinks.roles import apply_roles, revoke_roles
from sinks.seeds import seed_ruleset
from sinks.tables import metadata

Progress = Callable[[str], None]

_LOCK: Final = 0x6C617572656C73
"""One migration at a time in a database; the number spells the application's name."""


def migrate_to_head(database_url: str, progress: Progress | None = None) -> None:
    """Bring the database to the newest revision. Safe to repeat, to interrupt, and to run twice at once."""
    migrate_to(database_url, "head", progress)


def migrate_to(database_url: str, revision: str, progress: Progress | None = None) -> None:
    """Bring the database to `revision`, up or down (`base` is before the first one)."""
    with _alone(database_url) as connection:
        config = _config(connection, progress)
        script = ScriptDirectory.from_config(config)
        target = None if revision == "base" else script.get_revision(revision)
        current = _current(connection)
        ahead = {step.revision for step in script.iterate_revisions(current, "base")} if current else set()
        connection.commit()
        if target is None or (target.revision in ahead and target.revision != current):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        with connection.begin():
            for line in _finish(connection, script):
                if progress is not None:
                    progress(line)


def revisions() -> list[str]:
    """Every revision there is, oldest first."""
    script = ScriptDirectory.from_config(_config(None, None))
    return [step.revision for step in reversed(list(script.walk_revisions()))]


def current_revision(connection: Connection) -> str | None:
    """The revision that the database stands at; None before the first."""
    return _current(connection)


def find_drift(connection: Connection) -> list[str]:
    """Where the database differs from `sinks.tables`, as Alembic sees it; empty when nothing does."""
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_object": ours,
        },
    )
    return [repr(difference) for difference in compare_metadata(context, metadata)]


def ours(_object: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """An adopted database has tables of its own that are none of our business."""
    return not (type_ == "table" and reflected and compare_to is None and name not in metadata.tables)


def _finish(connection: Connection, script: ScriptDirectory) -> list[str]:
    """Privileges and seeds belong to the newest revision; on the way down there is nobody to serve."""
    if _current(connection) != script.get_current_head():
        revoke_roles(connection)
        return []
    return [*apply_roles(connection), *seed_ruleset(connection)]


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None, progress: Progress | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    return config


@contextmanager
def _alone(database_url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        yield connection
