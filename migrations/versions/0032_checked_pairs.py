"""References of progress and licenses are checked as those of the other tables that the ledger writes.

Two foreign keys each made a new user's first rows the dearest of all: 2 us of every event where a user has ten of them.
"""

from importlib import import_module

from alembic import op

revision = "0032"
down_revision = "0030"
branch_labels = None
depends_on = None

OTHERS = import_module("migrations.versions.0021_checked_references").OTHERS
REFERENCES = {
    "specialization_progress": {"student_id": "users", "specialization_id": "specializations"},
    "user_licenses": {"user_id": "users", "specialization_type": "specializations"},
}


def upgrade() -> None:
    """Exchange the foreign keys for the checks."""
    for table, references in REFERENCES.items():
        for column in references:
            op.drop_constraint(f"fk_{table}_{column}", table)
        arguments = ", ".join(f"'{column}', '{target}'" for column, target in references.items())
        for operation in ("INSERT", "UPDATE"):
            op.execute(
                f"CREATE TRIGGER references_{table}_{operation.lower()} AFTER {operation} ON {table} "
                f"REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT {OTHERS} "
                f"EXECUTE FUNCTION laurels_check_references({arguments})"
            )


def downgrade() -> None:
    """Exchange them back."""
    for table, references in REFERENCES.items():
        for operation in ("insert", "update"):
            op.execute(f"DROP TRIGGER references_{table}_{operation} ON {table}")
        for column, target in references.items():
            op.create_foreign_key(f"fk_{table}_{column}", table, target, [column], ["id"])
