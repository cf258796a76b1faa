"""A badge is earned once per user and tournament: the first row stays."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY user_id, semester_id, badge_type ORDER BY id) AS place
          FROM tournament_badges) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "tournament_badges",
        "the same badge for the same tournament again",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_user_tournament_badge",
        "tournament_badges",
        ["user_id", "semester_id", "badge_type"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_user_tournament_badge", "tournament_badges")
    put_back(revision, "tournament_badges")
