"""What Alembic runs for every command: the connection it is given, one transaction per migration."""

from typing import Any

from alembic import context

from sinks.migration import ours
from sinks.tables import metadata


def _applied(**event: Any) -> None:
    progress = context.config.attributes.get("progress")
    if progress is not None:
        step = event["step"]
        progress(f"{step.up_revision_id} {'applied' if step.is_upgrade else 'taken back'}: {step.up_revision.doc}")


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
