"""What adopting an academy's database took away, changed and added: a copy of every such row."""

from sqlalchemy import BigInteger, CheckConstraint, Column, PrimaryKeyConstraint, String, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from sinks.tables.columns import identity, metadata, moment

migration_removed_rows = Table(
    "migration_removed_rows",
    metadata,
    identity(),
    Column("revision", String(50), nullable=False),
    Column("table_name", String(100), nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("action", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("row", JSONB, nullable=False),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_migration_removed_rows"),
    CheckConstraint("action IN ('removed', 'changed', 'added')", name="ck_migration_removed_rows_action"),
)
