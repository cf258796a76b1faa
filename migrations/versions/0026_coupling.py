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

PAIR = ("specialization_progress", "user_licenses")
COLUMNS = {
    "specialization_progress": ("student_id", "specialization_id"),
    "user_licenses": ("user_id", "specialization_type"),
}

# Who comes here is about to be refused, or rare. The rows are locked, so that a transaction with an older snapshot cannot
# find a side that is gone or changed by now; in everybody's order.
REFUSE_APART = """
CREATE FUNCTION laurels_refuse_apart(user_id_ bigint, specialization_ text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
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

# One look at the other side, for every row that the ledger makes or levels: 4 us. A SET of the search path costs as much
# again, so every name and operator says its schema. It is sound to compare with NEW: where the row has changed again
# since, that change has an event of its own. Without locks it needs a snapshot of now, which only one level of isolation
# has; whoever changes both sides, as one must, has locked them.
COUPLED = """
CREATE FUNCTION laurels_coupled_{table}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' AND EXISTS (
        SELECT FROM {schema}.{other} AS other
         WHERE other.{other_user} OPERATOR(pg_catalog.=) NEW.{user}
           AND other.{other_specialization} OPERATOR(pg_catalog.=) NEW.{specialization}
           AND other.current_level OPERATOR(pg_catalog.=) NEW.current_level)
    THEN
        RETURN NULL;
    END IF;
    PERFORM {schema}.laurels_refuse_apart(NEW.{user}, NEW.{specialization});
    RETURN NULL;
END $$"""

UNCOUPLED = """
CREATE FUNCTION laurels_uncoupled_{table}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM {schema}.laurels_refuse_apart(OLD.{user}, OLD.{specialization});
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
    op.execute(REFUSE_APART.format(schema=schema))
    op.execute(NEVER_EMPTIED)
    for table, other in (PAIR, PAIR[::-1]):
        user, specialization = COLUMNS[table]
        other_user, other_specialization = COLUMNS[other]
        names = {"schema": schema, "table": table, "user": user, "specialization": specialization, "other": other}
        names |= {"other_user": other_user, "other_specialization": other_specialization}
        op.execute(COUPLED.format_map(names))
        op.execute(UNCOUPLED.format_map(names))
        moved = f"NEW.{user} <> OLD.{user} OR NEW.{specialization} <> OLD.{specialization}"
        for event, when, condition, function in (
            ("insert", "INSERT", "", "coupled"),
            ("update", "UPDATE", f"WHEN (NEW.current_level <> OLD.current_level OR {moved})", "coupled"),
            ("move", f"UPDATE OF {user}, {specialization}", f"WHEN ({moved})", "uncoupled"),
            ("delete", "DELETE", "", "uncoupled"),
        ):
            op.execute(
                f"CREATE CONSTRAINT TRIGGER coupled_{table}_{event} AFTER {when} ON {table} "
                f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {condition} "
                f"EXECUTE FUNCTION laurels_{function}_{table}()"
            )
        op.execute(
            f"CREATE TRIGGER coupled_{table}_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION laurels_coupled_truncate()"
        )
        for event in ("insert", "update", "move", "delete", "truncate"):
            op.execute(f"ALTER TABLE {table} DISABLE TRIGGER coupled_{table}_{event}")
    # They read and lock in their owner's name.
    functions = [f"laurels_{kind}_{table}()" for kind in ("coupled", "uncoupled") for table in PAIR]
    op.execute(f"REVOKE EXECUTE ON FUNCTION laurels_refuse_apart(bigint, text), {', '.join(functions)} FROM PUBLIC")


def downgrade() -> None:
    """Drop the triggers with their functions."""
    for table in PAIR:
        op.execute(f"DROP FUNCTION laurels_coupled_{table}() CASCADE")
        op.execute(f"DROP FUNCTION laurels_uncoupled_{table}() CASCADE")
    op.execute("DROP FUNCTION laurels_coupled_truncate() CASCADE")
    op.execute("DROP FUNCTION laurels_refuse_apart(bigint, text)")
