"""A user earns XP of one type once per tournament: the first row stays."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY user_id, semester_id, transaction_type ORDER BY id) AS place
          FROM xp_transactions WHERE semester_id IS NOT NULL) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "xp_transactions",
        "XP of the same type for the same tournament again",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_xp_transactions_user_semester_type",
        "xp_transactions",
        ["user_id", "semester_id", "transaction_type"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_xp_transactions_user_semester_type", "xp_transactions")
    put_back(revision, "xp_transactions")
