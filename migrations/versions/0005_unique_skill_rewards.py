"""A source rewards a skill once per user: the first row stays."""

from alembic import op

from migrations.steps import put_back, remove

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DUPLICATES = """
SELECT id
  FROM (SELECT id, row_number() OVER (PARTITION BY user_id, source_type, source_id, skill_name ORDER BY id) AS place
          FROM skill_rewards) AS ranked
 WHERE place > 1"""


def upgrade() -> None:
    """Keep the rows that go in `migration_removed_rows`."""
    remove(
        revision,
        "skill_rewards",
        "the same skill rewarded again for the same source",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_skill_rewards_user_source_skill",
        "skill_rewards",
        ["user_id", "source_type", "source_id", "skill_name"],
    )


def downgrade() -> None:
    """Put back what was there."""
    op.drop_constraint("uq_skill_rewards_user_source_skill", "skill_rewards")
    put_back(revision, "skill_rewards")
