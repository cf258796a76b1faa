"""Seals over the ledger, and the hashes of what an erasure blanked: both append-only, as the ledger is.

The rows of both are kept by the ledger's own trigger function. Receipts and transfers are sealed in the order of their
numbers, which a block range index finds: next to nothing to keep, since rows come nearly in that order.
"""

from alembic import op

from migrations.steps import say_lost

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

SEALS = """
CREATE TABLE ledger_seals (
    number bigint NOT NULL,
    table_name varchar(100) NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    row_count bigint NOT NULL,
    rows_hash bytea NOT NULL,
    marks bytea NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    CONSTRAINT pk_ledger_seals PRIMARY KEY (number),
    CONSTRAINT uq_ledger_seals_range UNIQUE (table_name, last_id),
    CONSTRAINT ck_ledger_seals_range CHECK (first_id <= last_id)
)"""

ERASED = """
CREATE TABLE erased_values (
    table_name varchar(100) NOT NULL,
    column_name varchar(100) NOT NULL,
    row_id bigint NOT NULL,
    value_hash bytea NOT NULL,
    user_id bigint NOT NULL,
    erased_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_erased_values PRIMARY KEY (table_name, column_name, row_id)
)"""

TABLES = ("ledger_seals", "erased_values")
NUMBERED = {"reward_receipts": "seq", "credit_transfers": "receipt_seq"}


def upgrade() -> None:
    """Make both tables, guard them, and index the numbers."""
    op.execute(SEALS)
    op.execute(ERASED)
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER append_only_{table} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION laurels_append_only()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_{table}")
    for table, column in NUMBERED.items():
        op.execute(f"CREATE INDEX ix_{table}_seq ON {table} USING brin ({column}) WITH (autosummarize = true)")


def downgrade() -> None:
    """Drop them: what was sealed can be sealed again, but not that it was so before."""
    for table in NUMBERED:
        op.execute(f"DROP INDEX ix_{table}_seq")
    for table in TABLES:
        say_lost(table, "all that it holds")
        op.drop_table(table)
