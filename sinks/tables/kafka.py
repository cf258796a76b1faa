"""Where Postgres meets Kafka: how far each partition is recorded, what could not be, what is still to be published."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sinks.tables.columns import count, identity, metadata, moment

partition_positions = Table(
    "partition_positions",
    metadata,
    Column("consumer_group", String(255), nullable=False),
    Column("topic", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("log_id", String(255), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("end_offset", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", String(255)),
    Column("generation", BigInteger),
    Column("stopped", Text),
    moment("updated_at", now=True),
    PrimaryKeyConstraint("consumer_group", "topic", "partition", name="pk_partition_positions"),
    CheckConstraint("next_offset >= 0", name="ck_partition_positions_next_offset"),
    postgresql_with={"fillfactor": 50},
)

dead_letters = Table(
    "dead_letters",
    metadata,
    identity(),
    Column("topic", String(255), nullable=False),
    Column("log_id", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", String(50), nullable=False),
    Column("detail", Text, nullable=False),
    Column("user_id", BigInteger),
    Column("event_key", String(255)),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    moment("produced_at", nullable=True),
    Column("status", String(20), nullable=False, server_default="open"),
    count("attempts", Integer, "1"),
    Column("resolved_by", Text),
    Column("resolution", Text),
    moment("recorded_at", now=True),
    moment("updated_at", now=True),
    PrimaryKeyConstraint("id", name="pk_dead_letters"),
    UniqueConstraint("log_id", "topic", "partition", "offset", name="uq_dead_letters_coordinates"),
    CheckConstraint("status IN ('open', 'final', 'retried', 'dropped')", name="ck_dead_letters_status"),
    Index("ix_dead_letters_status", "status", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    identity(),
    Column("lane", SmallInteger, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("messages", Text, nullable=False),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_outbox"),
    CheckConstraint("message_count > 0", name="ck_outbox_message_count"),
    # Every row is read once and deleted: vacuum after a fixed number of them, or the relay reads past the dead.
    postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 2000},
)
