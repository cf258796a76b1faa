"""References of the tables written per event are checked once per statement instead of once per row.

A foreign key is a query per row. What stands in its place refuses the same rows with the same SQLSTATE, and refuses to
delete or renumber what may be referred to, so that nothing referred to can go. The ledger is passed over: it has created
and locked what it refers to.
"""

from alembic import op
from sqlalchemy import text

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

REFERENCES = {
    "tournament_participations": {
        "user_id": "users",
        "semester_id": "semesters",
        "specialization_id": "specializations",
    },
    "session_attendances": {
        "user_id": "users",
        "session_id": "sessions",
        "specialization_id": "specializations",
    },
    "tournament_badges": {"user_id": "users", "semester_id": "semesters"},
    "xp_transactions": {
        "user_id": "users",
        "semester_id": "semesters",
        "specialization_id": "specializations",
    },
    "credit_transactions": {"user_id": "users", "semester_id": "semesters"},
    "skill_rewards": {"user_id": "users"},
    "credit_transfers": {"sender_id": "users", "receiver_id": "users"},
}

ADOPTED = {
    "tournament_participations": ("user_id", "semester_id"),
    "tournament_badges": ("user_id", "semester_id"),
    "xp_transactions": ("user_id", "semester_id"),
    "credit_transactions": ("user_id", "semester_id"),
    "skill_rewards": ("user_id",),
}
"""The foreign keys that an academy's database comes with."""

REFERRED_TO = ("users", "semesters", "sessions", "specializations")

CHECK = """
CREATE FUNCTION laurels_check_references() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    dangling text;
BEGIN
    FOR i IN 0 .. TG_NARGS - 1 BY 2 LOOP
        EXECUTE format(
            'SELECT n.%1$I::text FROM new_rows n WHERE n.%1$I IS NOT NULL '
            'AND NOT EXISTS (SELECT FROM %2$I t WHERE t.id = n.%1$I) LIMIT 1', TG_ARGV[i], TG_ARGV[i + 1]
        ) INTO dangling;
        IF dangling IS NOT NULL THEN
            RAISE EXCEPTION '% on % refers to %, which % does not have', TG_OP, TG_TABLE_NAME, dangling, TG_ARGV[i + 1]
                USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[i],
                      CONSTRAINT = 'fk_' || TG_TABLE_NAME || '_' || TG_ARGV[i];
        END IF;
    END LOOP;
    RETURN NULL;
END $$"""

REFUSE = """
CREATE FUNCTION laurels_referred_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % refused: ledgers refer to its rows for ever', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$"""

OTHERS = "WHEN (current_setting('laurels.recording', true) IS DISTINCT FROM 'on')"


def upgrade() -> None:
    """Exchange the foreign keys for the checks."""
    op.execute(CHECK.format(schema=op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()))
    op.execute(REFUSE)
    for table, columns in ADOPTED.items():
        for column in columns:
            op.drop_constraint(f"fk_{table}_{column}", table)
    for table, references in REFERENCES.items():
        arguments = ", ".join(f"'{column}', '{target}'" for column, target in references.items())
        for operation in ("INSERT", "UPDATE"):
            op.execute(
                f"CREATE TRIGGER references_{table}_{operation.lower()} AFTER {operation} ON {table} "
                f"REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT {OTHERS} "
                f"EXECUTE FUNCTION laurels_check_references({arguments})"
            )
    for table in REFERRED_TO:
        op.execute(
            f"CREATE TRIGGER referred_to_{table} BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT "
            "EXECUTE FUNCTION laurels_referred_to()"
        )
        op.execute(
            f"CREATE TRIGGER referred_to_{table}_id BEFORE UPDATE OF id ON {table} FOR EACH ROW "
            "WHEN (NEW.id IS DISTINCT FROM OLD.id) EXECUTE FUNCTION laurels_referred_to()"
        )


def downgrade() -> None:
    """Exchange them back."""
    op.execute("DROP FUNCTION laurels_referred_to() CASCADE")
    op.execute("DROP FUNCTION laurels_check_references() CASCADE")
    for table, columns in ADOPTED.items():
        for column in columns:
            target = REFERENCES[table][column]
            op.create_foreign_key(f"fk_{table}_{column}", table, target, [column], ["id"])
