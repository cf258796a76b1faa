"""Comparing a tournament with its roster must not read everybody's participations."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index participations by tournament."""
    op.create_index("ix_tournament_participations_semester", "tournament_participations", ["semester_id"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_tournament_participations_semester", "tournament_participations")
