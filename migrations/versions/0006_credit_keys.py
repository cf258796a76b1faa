"""Every credit transaction has its owner and an idempotency key: canonical wherever the row says its source."""

from alembic import op

from migrations.steps import change_back, count, keep, say, say_lost

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ON_A_LICENSE = "SELECT id FROM credit_transactions WHERE user_id IS NULL"

OWNERS = """
UPDATE credit_transactions c SET user_id = l.user_id FROM user_licenses l
 WHERE c.user_id IS NULL AND l.id = c.user_license_id"""

# Rows are never removed: of several with one canonical key the lowest id takes it, since the others were paid too.
KEYS = r"""
SELECT id,
       CASE WHEN canonical IS NOT NULL AND row_number() OVER (PARTITION BY canonical ORDER BY id) = 1 THEN canonical
            ELSE fallback
       END AS key
  FROM (SELECT id,
               lower(transaction_type) || '_' || coalesce(semester_id, 0) || '_' || user_id || '_'
               || coalesce(enrollment_id, 0) || '_' || id AS fallback,
               CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL
                        THEN 'tournament_' || semester_id || '_reward_' || user_id
                    WHEN transaction_type = 'ENROLLMENT' AND enrollment_id IS NOT NULL
                        THEN 'enrollment_' || enrollment_id || '_payment_' || user_id
                    WHEN transaction_type = 'REFUND' AND enrollment_id IS NOT NULL
                        THEN 'enrollment_' || enrollment_id || '_refund_' || user_id
                    ELSE 'session_' || substring(description FROM '^Session ([1-9][0-9]{0,17})\M')
                         || '_attendance_' || user_id
               END AS canonical
          FROM credit_transactions) AS said"""


def upgrade() -> None:
    """Fill in owners and keys, then demand both."""
    keep(
        revision,
        "credit_transactions",
        "changed",
        "booked on a license, without its user",
        ON_A_LICENSE,
    )
    op.execute(OWNERS)
    op.alter_column("credit_transactions", "user_id", nullable=False)
    op.drop_constraint("credit_transactions_check", "credit_transactions")
    op.execute("ALTER TABLE credit_transactions ADD COLUMN idempotency_key varchar(255)")
    op.execute(f"UPDATE credit_transactions c SET idempotency_key = k.key FROM ({KEYS}) AS k WHERE k.id = c.id")
    say(f"credit_transactions: {count('SELECT count(idempotency_key) FROM credit_transactions')} keys given")
    op.alter_column("credit_transactions", "idempotency_key", nullable=False)
    op.create_unique_constraint(
        "uq_credit_transactions_idempotency_key",
        "credit_transactions",
        ["idempotency_key"],
    )


def downgrade() -> None:
    """Drop the keys: those of adopted rows are made again by `upgrade`, those of later rows perhaps not."""
    other = f"(id, idempotency_key) NOT IN ({KEYS})"
    say_lost("credit_transactions", "keys that their rows do not say", other)
    op.drop_column("credit_transactions", "idempotency_key")
    op.create_check_constraint(
        "credit_transactions_check",
        "credit_transactions",
        "user_id IS NOT NULL OR user_license_id IS NOT NULL",
    )
    op.alter_column("credit_transactions", "user_id", nullable=True)
    change_back(revision, "credit_transactions", ("user_id",))
