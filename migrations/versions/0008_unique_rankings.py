"""A tournament ranks a user once: the first row stays."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY tournament_id, user_id ORDER BY id) AS place
          FROM tournament_rankings) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "tournament_rankings",
        "the same user ranked again in the same tournament",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_tournament_rankings_tournament_user",
        "tournament_rankings",
        ["tournament_id", "user_id"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_tournament_rankings_tournament_user", "tournament_rankings")
    put_back(revision, "tournament_rankings")
