"""Coupling is checked per statement instead of per row: the same is refused, at half the cost.

Each statement that makes, levels, moves or removes rows keeps their pairs for one check at commit. An UPDATE of neither
level nor place keeps none. Whether coupling is enforced stays as it is.
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None

BEFORE = import_module("migrations.versions.0026_coupling")
BY_ROW = ("insert", "update", "move", "delete", "truncate")
BY_STATEMENT = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
}

IS_ENFORCED = """
SELECT bool_and(tgenabled = 'A') FROM pg_trigger
 WHERE tgrelid IN ('specialization_progress'::regclass, 'user_licenses'::regclass) AND tgname LIKE 'coupled\\_%'
"""

# A level is the row's own as its statement left it, none where the row is gone: if it has changed again since, that
# change has a check of its own. So it is enough to look at the other side; without locks this needs a snapshot of now,
# which only one level of isolation has, and whoever changes both sides, as one must, has locked them.
TOGETHER = """current_setting('transaction_isolation') = 'read committed'
           AND touched.level IS NOT DISTINCT FROM (
                   SELECT other.current_level FROM {other} AS other
                    WHERE other.{other_user} = touched.user_id AND other.{other_specialization} = touched.specialization)"""

AT_COMMIT = """
CREATE FUNCTION laurels_coupled_at_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    pair record;
BEGIN
    FOR pair IN
        SELECT touched.user_id, touched.specialization
          FROM unnest(NEW.user_ids, NEW.specializations, NEW.levels) AS touched (user_id, specialization, level)
         WHERE NOT CASE NEW.side WHEN 'specialization_progress' THEN ({progress_together})
                                 ELSE ({license_together}) END
         ORDER BY touched.user_id, touched.specialization
    LOOP
        PERFORM laurels_refuse_apart(pair.user_id, pair.specialization);
    END LOOP;
    RETURN NULL;
END $$"""

# The row is there only to have a deferred trigger, which still sees it once it is gone: nobody ever finds one, and what
# a rollback leaves is a dead row. Plans are kept from when tables were small or a statement was large, hence the settings.
TOUCHED = """
CREATE FUNCTION laurels_coupled_{table}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    users bigint[];
    names text[];
    reached integer[];
    place tid;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(user_id), array_agg(specialization), array_agg(level) INTO users, names, reached
          FROM (SELECT {user}, {specialization}, current_level FROM new_rows) AS touched (user_id, specialization, level)
         WHERE {keep};
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(touched.user_id), array_agg(touched.specialization), array_agg(touched.level)
          INTO users, names, reached
          FROM new_rows AS after FULL JOIN old_rows AS before ON after.id = before.id
         CROSS JOIN LATERAL (
                SELECT after.{user}, after.{specialization}, after.current_level WHERE after.id IS NOT NULL
                 UNION ALL
                SELECT before.{user}, before.{specialization}, NULL
                 WHERE before.id IS NOT NULL AND (after.{user} IS DISTINCT FROM before.{user}
                                                  OR after.{specialization} IS DISTINCT FROM before.{specialization})
               ) AS touched (user_id, specialization, level)
         WHERE (after.current_level IS DISTINCT FROM before.current_level OR after.{user} IS DISTINCT FROM before.{user}
                OR after.{specialization} IS DISTINCT FROM before.{specialization})
           AND {keep};
    ELSE
        SELECT array_agg(user_id), array_agg(specialization), array_agg(level) INTO users, names, reached
          FROM (SELECT {user}, {specialization}, NULL::integer FROM old_rows) AS touched (user_id, specialization, level)
         WHERE {keep};
    END IF;
    IF users IS NOT NULL THEN
        INSERT INTO coupling_checks (side, user_ids, specializations, levels)
        VALUES (TG_TABLE_NAME, users, names, reached) RETURNING ctid INTO place;
        DELETE FROM coupling_checks WHERE ctid = place;
    END IF;
    RETURN NULL;
END $$"""


def upgrade() -> None:
    """The triggers are always on where coupling is enforced: also where a session calls itself a replica."""
    enforced = op.get_bind().execute(sa.text(IS_ENFORCED)).scalar_one()
    BEFORE.downgrade()
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    op.create_table(
        "coupling_checks",
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("user_ids", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("specializations", ARRAY(sa.Text), nullable=False),
        sa.Column("levels", ARRAY(sa.Integer), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.execute(BEFORE.REFUSE_APART.format(schema=schema))
    op.execute(BEFORE.NEVER_EMPTIED)
    together = {table: _together(other) for table, other in (BEFORE.PAIR, BEFORE.PAIR[::-1])}
    op.execute(
        AT_COMMIT.format(
            schema=schema,
            progress_together=together["specialization_progress"],
            license_together=together["user_licenses"],
        )
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER coupled_at_commit AFTER INSERT ON coupling_checks DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION laurels_coupled_at_commit()"
    )
    for table in BEFORE.PAIR:
        user, specialization = BEFORE.COLUMNS[table]
        # The ledger writes progress first: to look at the license so early finds what is not written yet.
        keep = "true" if table == "specialization_progress" else f"NOT ({together[table]})"
        op.execute(TOUCHED.format(schema=schema, table=table, user=user, specialization=specialization, keep=keep))
        for event, rows in BY_STATEMENT.items():
            op.execute(
                f"CREATE TRIGGER coupled_{table}_{event} AFTER {event} ON {table} {rows} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION laurels_coupled_{table}()"
            )
        op.execute(
            f"CREATE TRIGGER coupled_{table}_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION laurels_coupled_truncate()"
        )
        _switch(table, (*BY_STATEMENT, "truncate"), enforced=enforced)
    op.execute(f"ALTER TABLE coupling_checks {_switched(enforced=enforced)} TRIGGER coupled_at_commit")
    # They read and lock in their owner's name.
    functions = ["laurels_coupled_at_commit()", *(f"laurels_coupled_{table}()" for table in BEFORE.PAIR)]
    op.execute(f"REVOKE EXECUTE ON FUNCTION laurels_refuse_apart(bigint, text), {', '.join(functions)} FROM PUBLIC")


def downgrade() -> None:
    """Check row by row again."""
    enforced = op.get_bind().execute(sa.text(IS_ENFORCED)).scalar_one()
    for function in (*BEFORE.PAIR, "at_commit", "truncate"):
        op.execute(f"DROP FUNCTION laurels_coupled_{function}() CASCADE")
    op.execute("DROP FUNCTION laurels_refuse_apart(bigint, text)")
    op.drop_table("coupling_checks")
    BEFORE.upgrade()
    for table in BEFORE.PAIR:
        _switch(table, BY_ROW, enforced=enforced)


def _together(other: str) -> str:
    user, specialization = BEFORE.COLUMNS[other]
    return TOGETHER.format(other=other, other_user=user, other_specialization=specialization)


def _switch(table: str, events: tuple[str, ...], *, enforced: bool) -> None:
    for event in events:
        op.execute(f"ALTER TABLE {table} {_switched(enforced=enforced)} TRIGGER coupled_{table}_{event}")


def _switched(*, enforced: bool) -> str:
    return "ENABLE ALWAYS" if enforced else "DISABLE"
