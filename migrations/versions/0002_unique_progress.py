"""One progress per user and specialization: the highest level stays, then the latest update."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY student_id, specialization_id ORDER BY current_level DESC, updated_at DESC, id DESC) AS place
          FROM specialization_progress) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "specialization_progress",
        "a second progress of the same user and specialization",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_specialization_progress_user_spec",
        "specialization_progress",
        ["student_id", "specialization_id"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_specialization_progress_user_spec", "specialization_progress")
    put_back(revision, "specialization_progress")
