"""A license's highest level is at least its level."""

from alembic import op

from migrations.steps import change_back, keep

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TOO_LOW = "SELECT id FROM user_licenses WHERE max_achieved_level < current_level"


def upgrade() -> None:
    """Raise it where it is lower."""
    keep(
        revision,
        "user_licenses",
        "changed",
        "the highest level was below the level",
        TOO_LOW,
    )
    op.execute("UPDATE user_licenses SET max_achieved_level = current_level WHERE max_achieved_level < current_level")
    op.create_check_constraint("ck_user_licenses_level", "user_licenses", "current_level >= 1")
    op.create_check_constraint(
        "ck_specialization_progress_level",
        "specialization_progress",
        "current_level >= 1",
    )


def downgrade() -> None:
    """Lower it again where no later level went past it."""
    op.drop_constraint("ck_specialization_progress_level", "specialization_progress")
    op.drop_constraint("ck_user_licenses_level", "user_licenses")
    went_on = "t.max_achieved_level <> (m.row ->> 'current_level')::integer"
    change_back(revision, "user_licenses", ("max_achieved_level",), unless=went_on)
