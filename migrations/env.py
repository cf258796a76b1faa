"""What Alembic runs for every command: the connection it is given, one transaction per migration."""

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script

from sinks.migration import ours
from sinks.tables import metadata


def _applied(
    ctx: MigrationContext,  # noqa: ARG001 - Alembic names all four
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    progress = context.config.attributes.get("progress")
    script = step.up_revision
    if progress is not None and isinstance(script, Script):
        progress(f"{script.revision} {'applied' if step.is_upgrade else 'taken back'}: {script.doc}")


# A transaction opened here would hold all migrations in one: an interrupted adoption goes on where it stopped.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    compare_type=True,
    compare_server_default=True,
    include_object=ours,
    on_version_apply=_applied,
)
with context.begin_transaction():
    context.run_migrations()
