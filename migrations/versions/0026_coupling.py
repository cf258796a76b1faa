"""Refuses, at commit, whatever leaves a progress and its license at two levels, or one of them missing.

The triggers are made switched off: `laurels coupling enforce` switches them on. They are deferred, so that a transaction
may write one side before the other, and ask only when a row comes, goes, moves or changes its level.
"""

from alembic import op
from sqlalchemy import text

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TABLES = {
    "specialization_progress": ("student_id", "specialization_id"),
    "user_licenses": ("user_id", "specialization_type"),
}

# The rows are locked, so that a transaction with an older snapshot cannot find a side that is gone or changed by now.
# Whoever writes both sides has locked them already; where not, they are locked in everybody's order.
REFUSE_APART = """
CREATE FUNCTION laurels_refuse_apart(user_id_ bigint, specialization_ text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    progress_level integer;
    license_level integer;
BEGIN
    SELECT current_level INTO progress_level FROM specialization_progress
     WHERE student_id = user_id_ AND specialization_id = specialization_ FOR NO KEY UPDATE;
    SELECT current_level INTO license_level FROM user_licenses
     WHERE user_id = user_id_ AND specialization_type = specialization_ FOR NO KEY UPDATE;
    IF progress_level IS DISTINCT FROM license_level THEN
        RAISE EXCEPTION 'user % in %: progress is at level %, license at %', user_id_, specialization_,
                        coalesce(progress_level::text, 'none'), coalesce(license_level::text, 'none')
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_coupling',
                  HINT = 'Levels are changed by level commands. See: laurels coupling --help';
    END IF;
END $$"""

COUPLED = """
CREATE FUNCTION laurels_coupled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'user_licenses' THEN
        IF TG_OP <> 'DELETE' THEN
            PERFORM laurels_refuse_apart(NEW.user_id, NEW.specialization_type);
        END IF;
        IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE'
                AND (OLD.user_id, OLD.specialization_type) <> (NEW.user_id, NEW.specialization_type)) THEN
            PERFORM laurels_refuse_apart(OLD.user_id, OLD.specialization_type);
        END IF;
    ELSE
        IF TG_OP <> 'DELETE' THEN
            PERFORM laurels_refuse_apart(NEW.student_id, NEW.specialization_id);
        END IF;
        IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE'
                AND (OLD.student_id, OLD.specialization_id) <> (NEW.student_id, NEW.specialization_id)) THEN
            PERFORM laurels_refuse_apart(OLD.student_id, OLD.specialization_id);
        END IF;
    END IF;
    RETURN NULL;
END $$"""

NEVER_EMPTIED = """
CREATE FUNCTION laurels_coupled_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is coupled: it cannot be emptied', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'ck_coupling';
END $$"""


def upgrade() -> None:
    """A trigger per table and event: an INSERT has no OLD and a DELETE no NEW for a condition to look at."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(REFUSE_APART)
    op.execute(COUPLED.format(schema=schema))
    op.execute(NEVER_EMPTIED)
    # They take locks in their owner's name.
    op.execute("REVOKE EXECUTE ON FUNCTION laurels_refuse_apart(bigint, text), laurels_coupled() FROM PUBLIC")
    for table, columns in TABLES.items():
        differs = " OR ".join(f"NEW.{column} <> OLD.{column}" for column in ("current_level", *columns))
        for event, condition in (("INSERT", ""), ("DELETE", ""), ("UPDATE", f"WHEN ({differs})")):
            op.execute(
                f"CREATE CONSTRAINT TRIGGER coupled_{table}_{event.lower()} AFTER {event} ON {table} "
                f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {condition} EXECUTE FUNCTION laurels_coupled()"
            )
        op.execute(
            f"CREATE TRIGGER coupled_{table}_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION laurels_coupled_truncate()"
        )
        for event in ("insert", "delete", "update", "truncate"):
            op.execute(f"ALTER TABLE {table} DISABLE TRIGGER coupled_{table}_{event}")


def downgrade() -> None:
    """Drop the triggers with their functions."""
    op.execute("DROP FUNCTION laurels_coupled() CASCADE")
    op.execute("DROP FUNCTION laurels_coupled_truncate() CASCADE")
    op.execute("DROP FUNCTION laurels_refuse_apart(bigint, text)")
