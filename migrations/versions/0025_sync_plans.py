"""Plans by which desyncs are mended, item by item, and when scheduled work last ran."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from migrations.steps import say_lost

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "sync_plans",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("source", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("advanced_by", sa.BigInteger),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_sync_plans"),
        sa.CheckConstraint("source IN ('progress', 'license')", name="ck_sync_plans_source"),
    )
    op.create_table(
        "sync_plan_items",
        sa.Column("plan_id", sa.String(32), nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("specialization_id", sa.String(50), nullable=False),
        sa.Column("kinds", ARRAY(sa.Text), nullable=False),
        sa.Column("progress_level", sa.Integer),
        sa.Column("license_level", sa.Integer),
        sa.Column("highest_level", sa.Integer),
        sa.Column("new_level", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(10)),
        sa.Column("detail", sa.Text),
        sa.Column("applied_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("plan_id", "user_id", "specialization_id", name="pk_sync_plan_items"),
        sa.ForeignKeyConstraint(["plan_id"], ["sync_plans.id"], name="fk_sync_plan_items_plan_id"),
        sa.CheckConstraint("outcome IN ('synced', 'changed', 'refused')", name="ck_sync_plan_items_outcome"),
        sa.CheckConstraint("(outcome IS NULL) = (applied_at IS NULL)", name="ck_sync_plan_items_applied"),
    )
    op.create_table(
        "scheduled_runs",
        sa.Column("task", sa.String(100), nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("outcome", JSONB),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("task", name="pk_scheduled_runs"),
    )


def downgrade() -> None:
    say_lost("sync_plan_items", "what was planned and done about desyncs")
    op.drop_table("scheduled_runs")
    op.drop_table("sync_plan_items")
    op.drop_table("sync_plans")
