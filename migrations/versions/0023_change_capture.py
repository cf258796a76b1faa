"""What anyone but the ledger changes in the reward tables is announced, so that reconciliation checks whom it touches.

The message only names the users; what is true of them is read afterwards. So one statement makes few messages: 500 users
in each, and past 10,000 users a single one that asks for a sweep.
"""

from alembic import op
from sqlalchemy import text

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

CAPTURE = """
CREATE FUNCTION laurels_capture_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    most constant integer := 10000;
    touched_rows text;
    touched bigint[];
BEGIN
    IF TG_OP <> 'TRUNCATE' THEN
        IF TG_TABLE_NAME = 'users' AND TG_OP = 'UPDATE' THEN
            touched_rows := 'SELECT n.id AS user_id FROM new_rows n JOIN old_rows o ON o.id = n.id '
                'WHERE (n.xp_balance, n.credit_balance, n.opening_xp, n.opening_credits) '
                'IS DISTINCT FROM (o.xp_balance, o.credit_balance, o.opening_xp, o.opening_credits)';
        ELSE
            SELECT string_agg(format('SELECT %I AS user_id FROM %I', user_column, side), ' UNION ')
              INTO touched_rows
              FROM unnest(TG_ARGV::text[]) AS user_column,
                   unnest(CASE TG_OP WHEN 'INSERT' THEN ARRAY['new_rows'] WHEN 'DELETE' THEN ARRAY['old_rows']
                                     ELSE ARRAY['new_rows', 'old_rows'] END) AS side;
        END IF;
        EXECUTE format('SELECT array_agg(user_id) FROM (SELECT user_id FROM (%s) t WHERE user_id > 0 LIMIT %s) u',
                       touched_rows, most + 1) INTO touched;
        IF touched IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;

    INSERT INTO outbox (lane, message_count, messages)
    SELECT lane, count(*), json_agg(message ORDER BY chunk)::text
      FROM (SELECT lane, chunk, json_build_object(
                       'topic', 'reward-entries',
                       'key', min(user_id)::text,
                       'id', 'changed:' || gen_random_uuid(),
                       'type', 'laurels.changed-rows.v1',
                       'time', now(),
                       'value', json_build_object(
                           'kind', 'changed',
                           'table', TG_TABLE_NAME,
                           'operation', TG_OP,
                           'user_ids', coalesce(json_agg(user_id ORDER BY user_id) FILTER (WHERE user_id > 0), '[]'),
                           'truncated', chunk < 0)) AS message
              FROM (SELECT user_id, user_id % 4 AS lane,
                           (row_number() OVER (PARTITION BY user_id % 4 ORDER BY user_id) - 1) / 500 AS chunk
                      FROM unnest(touched) AS user_id
                     WHERE cardinality(touched) <= most
                    UNION ALL
                    SELECT NULL, 0, -1 WHERE touched IS NULL OR cardinality(touched) > most) AS users_touched
             GROUP BY lane, chunk) AS packed
     GROUP BY lane
     ORDER BY lane;
    RETURN NULL;
END $$"""

TABLES = {
    "users": "id",
    "xp_transactions": "user_id",
    "credit_transactions": "user_id",
    "skill_rewards": "user_id",
    "tournament_badges": "user_id",
    "tournament_participations": "user_id",
    "session_attendances": "user_id",
    "specialization_progress": "student_id",
    "user_licenses": "user_id",
    "credit_transfers": "sender_id, receiver_id",
    "reward_receipts": "user_id",
}

EVENTS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
    "TRUNCATE": "",
}

# The ledger announces what it records itself, with its receipt.
OTHERS = "WHEN (current_setting('laurels.recording', true) IS DISTINCT FROM 'on')"


def upgrade() -> None:
    """A trigger per table and kind of statement: a transition table serves only one kind."""
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(CAPTURE.format(schema=schema))
    for table, columns in TABLES.items():
        for event, rows in EVENTS.items():
            op.execute(
                f"CREATE TRIGGER changed_{table}_{event.lower()} AFTER {event} ON {table} {rows} "
                f"FOR EACH STATEMENT {OTHERS} EXECUTE FUNCTION laurels_capture_change({columns})"
            )


def downgrade() -> None:
    """Drop the triggers with their function."""
    op.execute("DROP FUNCTION laurels_capture_change() CASCADE")
