"""Progress and license kept together: what is planned to mend them, and what is compared before a commit."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, String, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from sinks.tables.columns import metadata, moment, references

sync_plans = Table(
    "sync_plans",
    metadata,
    Column("id", String(32), nullable=False),
    Column("source", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("advanced_by", BigInteger),
    moment("created_at", now=True),
    PrimaryKeyConstraint("id", name="pk_sync_plans"),
    CheckConstraint("source IN ('progress', 'license')", name="ck_sync_plans_source"),
)

sync_plan_items = Table(
    "sync_plan_items",
    metadata,
    Column("plan_id", String(32), nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("specialization_id", String(50), nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("progress_level", Integer),
    Column("license_level", Integer),
    Column("highest_level", Integer),
    Column("new_level", Integer, nullable=False),
    Column("outcome", String(10)),
    Column("detail", Text),
    moment("applied_at", nullable=True),
    PrimaryKeyConstraint("plan_id", "user_id", "specialization_id", name="pk_sync_plan_items"),
    references("sync_plan_items", "plan_id", "sync_plans.id"),
    CheckConstraint("outcome IN ('synced', 'changed', 'refused')", name="ck_sync_plan_items_outcome"),
    CheckConstraint("(outcome IS NULL) = (applied_at IS NULL)", name="ck_sync_plan_items_applied"),
)

coupling_checks = Table(
    "coupling_checks",
    metadata,
    Column("side", Text, nullable=False),
    Column("user_ids", ARRAY(BigInteger), nullable=False),
    Column("specializations", ARRAY(Text), nullable=False),
    Column("levels", ARRAY(Integer), nullable=False),
    prefixes=["UNLOGGED"],
)
