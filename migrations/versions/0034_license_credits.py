"""Deleting a license must not read all credit transactions for those that were booked on it.

Only adopted rows name a license, so the index holds nothing of what is recorded, and costs recording nothing.
"""

from alembic import op
from sqlalchemy import text

revision = "0034"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index credit transactions by license, where they name one."""
    op.create_index(
        "ix_credit_transactions_license",
        "credit_transactions",
        ["user_license_id"],
        postgresql_where=text("user_license_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_credit_transactions_license", "credit_transactions")
