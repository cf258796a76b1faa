"""Ledgers are append-only: UPDATE, DELETE and TRUNCATE are refused to everyone, their owner and superusers included.

There is no setting that switches this off: only `ALTER TABLE ... DISABLE TRIGGER`, which takes the owner's rights and
leaves a trace in the schema. Two narrow updates are let through, column by column: a receipt of an adopted source
remembers the payload of the first event that comes by for it, and the words of a row (never its figures) can be blanked
while personal data are erased, by whoever may update the table, which no role of ours may.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# LR: Laurels; 001: history is never edited.
REFUSE = """
CREATE FUNCTION laurels_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'LR001', HINT = 'History is never edited: post a compensating entry.', TABLE = TG_TABLE_NAME;
END $$"""

ERASING = "current_setting('laurels.erasing', true) IS NOT DISTINCT FROM 'on'"
BLANKED = f"{ERASING} AND coalesce(NEW.{{column}}, '') = ''"
REMEMBERED = "OLD.origin = 'adopted' AND OLD.payload_hash IS NULL AND NEW.payload_hash IS NOT NULL"

LEDGERS = {
    "xp_transactions": (
        "description",
        BLANKED,
        """id, user_id, transaction_type, amount, balance_after, semester_id, specialization_id, idempotency_key,
        receipt_seq, created_at, recorded_at""",
    ),
    "credit_transactions": (
        "description",
        BLANKED,
        """id, user_id, user_license_id, transaction_type, amount, balance_after, semester_id, enrollment_id,
        idempotency_key, receipt_seq, created_at, recorded_at""",
    ),
    "license_progressions": (
        "advancement_reason",
        BLANKED,
        "id, user_license_id, from_level, to_level, advanced_by, receipt_seq, advanced_at, recorded_at",
    ),
    "reward_receipts": (
        "payload_hash",
        REMEMBERED,
        """event_key, seq, user_id, corrects, revision, origin, ruleset, topic, log_id, partition, "offset", "grant",
        occurred_at, recorded_at""",
    ),
    "skill_rewards": (
        None,
        "false",
        "id, user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at, recorded_at",
    ),
}
"""Per table: the one column that may change, when, and all the others."""


def _trigger(name: str, table: str, what: str) -> None:
    op.execute(f"CREATE TRIGGER {name} BEFORE {what} EXECUTE FUNCTION laurels_append_only()")
    # ALWAYS: also where a session plays the replica, which skips ordinary triggers.
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def upgrade() -> None:
    """Per table: statements that delete, statements that name a column of history, and rows that change otherwise."""
    op.execute(REFUSE)
    for table, (column, allowed, others) in LEDGERS.items():
        _trigger(
            f"append_only_{table}",
            table,
            f"DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT",
        )
        _trigger(
            f"append_only_{table}_columns",
            table,
            f"UPDATE OF {others} ON {table} FOR EACH STATEMENT",
        )
        if column is not None:
            row = f"UPDATE ON {table} FOR EACH ROW WHEN (NOT ({allowed.format(column=column)}))"
            _trigger(f"append_only_{table}_rows", table, row)


def downgrade() -> None:
    """Drop the triggers with their function."""
    op.execute("DROP FUNCTION laurels_append_only() CASCADE")
