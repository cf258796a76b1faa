"""What Alembic runs for every command: the connection it is given, one transaction per migration."""

from typing import Any, cast

from alembic import context
from alembic.script import Script

from sinks.migration import ours
from sinks.tables import metadata


def _applied(**event: Any) -> None:
    progress = context.config.attributes.get("progress")
    script = event["step"].up_revision
    if progress is not None and isinstance(script, Script):
        progress(f"{script.revision} {'applied' if event['step'].is_upgrade else 'taken back'}: {script.doc}")


# A transaction opened here would hold all migrations in one: an interrupted adoption goes on where it stopped.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    compare_type=True,
    compare_server_default=True,
    include_object=ours,
    on_version_apply=cast(Any, _applied),  # called with keywords, typed with positions
)
with context.begin_transaction():
    context.run_migrations()
