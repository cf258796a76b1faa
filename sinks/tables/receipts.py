"""Which events were applied, which transfers and rosters decided, and by which ruleset."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from sinks.tables.columns import metadata, moment, references

reward_receipts = Table(
    "reward_receipts",
    metadata,
    Column("event_key", String(255), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("corrects", String(255)),
    Column("revision", SmallInteger, nullable=False),
    Column("origin", String(20), nullable=False),
    Column("payload_hash", LargeBinary),
    Column("ruleset", String(64)),
    Column("topic", String(255)),
    Column("log_id", String(255)),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("grant", JSONB, nullable=False),
    moment("occurred_at"),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("event_key", name="pk_reward_receipts"),
    UniqueConstraint("user_id", "seq", name="uq_reward_receipts_user_seq"),
    CheckConstraint("origin = 'adopted' OR payload_hash IS NOT NULL", name="ck_reward_receipts_payload_hash"),
    CheckConstraint("revision >= 1", name="ck_reward_receipts_revision"),
    Index("ix_reward_receipts_corrections", "corrects", postgresql_where=text("corrects IS NOT NULL")),
    Index("ix_reward_receipts_seq", "seq", postgresql_using="brin", postgresql_with={"autosummarize": "true"}),
)

credit_transfers = Table(
    "credit_transfers",
    metadata,
    Column("sender_id", BigInteger, nullable=False),
    Column("idempotency_key", String(128), nullable=False),
    Column("receiver_id", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("memo", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("reason", String(50)),
    Column("receipt_seq", BigInteger, nullable=False),
    moment("occurred_at"),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("sender_id", "idempotency_key", name="uq_credit_transfers_sender_key"),
    CheckConstraint("sender_id <> receiver_id", name="ck_credit_transfers_two_users"),
    CheckConstraint("amount > 0", name="ck_credit_transfers_amount"),
    CheckConstraint(
        "(status = 'COMPLETED' AND reason IS NULL) OR (status = 'REJECTED' AND reason IS NOT NULL)",
        name="ck_credit_transfers_status",
    ),
    Index("ix_credit_transfers_receiver", "receiver_id"),
    Index("ix_credit_transfers_seq", "receipt_seq", postgresql_using="brin", postgresql_with={"autosummarize": "true"}),
)

tournament_rosters = Table(
    "tournament_rosters",
    metadata,
    Column("tournament_id", BigInteger, nullable=False),
    Column("participants", Integer, nullable=False),
    Column("user_ids", ARRAY(BigInteger)),
    moment("finalized_at"),
    Column("log_id", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("tournament_id", name="pk_tournament_rosters"),
    references("tournament_rosters", "tournament_id", "semesters.id"),
)

rulesets = Table(
    "rulesets",
    metadata,
    Column("hash", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("false")),
    Column("published_by", Text, nullable=False),
    moment("published_at", now=True),
    PrimaryKeyConstraint("hash", name="pk_rulesets"),
    Index("uq_rulesets_active", "active", unique=True, postgresql_where=text("active")),
)
