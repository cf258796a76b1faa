"""A user takes part in a tournament once: the first row stays."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY user_id, semester_id ORDER BY id) AS place
          FROM tournament_participations) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "tournament_participations",
        "the same user in the same tournament again",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_user_semester_participation",
        "tournament_participations",
        ["user_id", "semester_id"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_user_semester_participation", "tournament_participations")
    put_back(revision, "tournament_participations")
