"""The ledger: append-only for everyone; and the seals over it.

`created_at` is when the award happened, `recorded_at` when we wrote it; `receipt_seq` names the receipt that caused the
row, null on rows from before adoption.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from sinks.tables.columns import identity, metadata, moment, references

xp_transactions = Table(
    "xp_transactions",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("transaction_type", String(50), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger),
    Column("description", Text),
    Column("semester_id", BigInteger),
    Column("specialization_id", String(50), nullable=False, server_default="PLAYER"),
    Column("idempotency_key", String(255), nullable=False),
    Column("receipt_seq", BigInteger),
    moment("created_at", now=True),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="xp_transactions_pkey"),
    UniqueConstraint("user_id", "semester_id", "transaction_type", name="uq_xp_transactions_user_semester_type"),
    UniqueConstraint("idempotency_key", name="uq_xp_transaction_idempotency"),
)

credit_transactions = Table(
    "credit_transactions",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("user_license_id", BigInteger),
    Column("transaction_type", String(50), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger),
    Column("description", Text),
    Column("semester_id", BigInteger),
    Column("enrollment_id", BigInteger),
    Column("idempotency_key", String(255), nullable=False),
    Column("receipt_seq", BigInteger),
    moment("created_at", now=True),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="credit_transactions_pkey"),
    UniqueConstraint("idempotency_key", name="uq_credit_transactions_idempotency_key"),
    references("credit_transactions", "user_license_id", "user_licenses.id"),
    Index("ix_credit_transactions_user", "user_id"),
    Index("ix_credit_transactions_license", "user_license_id", postgresql_where=text("user_license_id IS NOT NULL")),
)

skill_rewards = Table(
    "skill_rewards",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("source_type", String(20), nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("skill_name", String(50), nullable=False),
    Column("points_awarded", Integer, nullable=False),
    Column("receipt_seq", BigInteger),
    moment("created_at", now=True),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="skill_rewards_pkey"),
    UniqueConstraint("user_id", "source_type", "source_id", "skill_name", name="uq_skill_rewards_user_source_skill"),
)

license_progressions = Table(
    "license_progressions",
    metadata,
    identity(),
    Column("user_license_id", BigInteger, nullable=False),
    Column("from_level", Integer, nullable=False),
    Column("to_level", Integer, nullable=False),
    Column("advanced_by", BigInteger),
    Column("advancement_reason", Text),
    Column("receipt_seq", BigInteger),
    moment("advanced_at", now=True),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="license_progressions_pkey"),
    references("license_progressions", "user_license_id", "user_licenses.id"),
    CheckConstraint("from_level <> to_level", name="ck_license_progressions_moves"),
    Index("ix_license_progressions_license", "user_license_id"),
)

ledger_seals = Table(
    "ledger_seals",
    metadata,
    Column("number", BigInteger, nullable=False, autoincrement=False),
    Column("table_name", String(100), nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("rows_hash", LargeBinary, nullable=False),
    Column("marks", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    moment("sealed_at"),
    PrimaryKeyConstraint("number", name="pk_ledger_seals"),
    UniqueConstraint("table_name", "last_id", name="uq_ledger_seals_range"),
    CheckConstraint("first_id <= last_id", name="ck_ledger_seals_range"),
)

erased_values = Table(
    "erased_values",
    metadata,
    Column("table_name", String(100), nullable=False),
    Column("column_name", String(100), nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("value_hash", LargeBinary, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    moment("erased_at", now=True),
    PrimaryKeyConstraint("table_name", "column_name", "row_id", name="pk_erased_values"),
)
