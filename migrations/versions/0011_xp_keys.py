"""Every XP transaction has an idempotency key: canonical wherever the row says its source."""

from alembic import op

from migrations.steps import count, say, say_lost

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEYS = r"""
SELECT id,
       CASE WHEN canonical IS NOT NULL AND row_number() OVER (PARTITION BY canonical ORDER BY id) = 1 THEN canonical
            ELSE fallback
       END AS key
  FROM (SELECT id,
               lower(transaction_type) || '_' || coalesce(semester_id, 0) || '_' || user_id || '_xp_' || id AS fallback,
               CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL
                        THEN 'tournament_' || semester_id || '_xp_' || user_id
                    ELSE 'session_' || substring(description FROM '^Session ([1-9][0-9]{0,17})\M') || '_xp_' || user_id
               END AS canonical
          FROM xp_transactions) AS said"""


def upgrade() -> None:
    """Fill in the keys, then demand them."""
    op.execute("ALTER TABLE xp_transactions ADD COLUMN idempotency_key varchar(255)")
    op.execute(f"UPDATE xp_transactions x SET idempotency_key = k.key FROM ({KEYS}) AS k WHERE k.id = x.id")
    say(f"xp_transactions: {count('SELECT count(idempotency_key) FROM xp_transactions')} keys given")
    op.alter_column("xp_transactions", "idempotency_key", nullable=False)
    op.create_unique_constraint("uq_xp_transaction_idempotency", "xp_transactions", ["idempotency_key"])


def downgrade() -> None:
    """Drop the keys: those of adopted rows are made again by `upgrade`, those of later rows perhaps not."""
    say_lost(
        "xp_transactions",
        "keys that their rows do not say",
        f"(id, idempotency_key) NOT IN ({KEYS})",
    )
    op.drop_column("xp_transactions", "idempotency_key")
