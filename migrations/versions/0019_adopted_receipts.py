"""What was given before counts as given: a receipt for every tournament and session that an adopted row speaks of."""

from alembic import op

from migrations.steps import count, say, say_lost

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# One row per adopted row that says its source. The fallback-keyed rows of a source were given too, so they count.
SPOKEN_OF = r"""
CREATE TEMPORARY TABLE adopted_rows ON COMMIT DROP AS
SELECT 'tournament' AS kind, semester_id AS source_id, user_id, achieved_at AS at,
       NULL AS what, NULL::jsonb AS given, id
  FROM tournament_participations
UNION ALL
SELECT 'tournament', semester_id, user_id, earned_at, 'badge', to_jsonb(badge_type), id
  FROM tournament_badges
UNION ALL
SELECT CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL THEN 'tournament' ELSE 'session' END,
       CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL THEN semester_id
            ELSE substring(description FROM '^Session ([1-9][0-9]{0,17})\M')::bigint END,
       user_id, created_at, 'xp', jsonb_build_array(transaction_type, specialization_id, amount), id
  FROM xp_transactions
UNION ALL
SELECT CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL THEN 'tournament' ELSE 'session' END,
       CASE WHEN transaction_type = 'TOURNAMENT_REWARD' AND semester_id IS NOT NULL THEN semester_id
            WHEN transaction_type IN ('ENROLLMENT', 'REFUND') AND enrollment_id IS NOT NULL THEN NULL
            ELSE substring(description FROM '^Session ([1-9][0-9]{0,17})\M')::bigint END,
       user_id, created_at, 'credits', jsonb_build_array(transaction_type, amount), id
  FROM credit_transactions
UNION ALL
SELECT lower(source_type), source_id, user_id, created_at, 'skills', jsonb_build_array(skill_name, points_awarded), id
  FROM skill_rewards WHERE source_type IN ('TOURNAMENT', 'SESSION')"""

RECEIPTS = """
INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, "grant", occurred_at)
SELECT event_key, nextval('reward_receipts_seq'), user_id, 1, 'adopted',
       jsonb_strip_nulls(jsonb_build_object(
           'xp', xp, 'credits', credits, 'skills', skills,
           'badge', CASE WHEN jsonb_array_length(badges) = 1 THEN badges -> 0 END,
           'badges', CASE WHEN jsonb_array_length(badges) > 1 THEN badges END)),
       at
  FROM (SELECT kind || '_' || source_id || CASE kind WHEN 'tournament' THEN '_result_' ELSE '_presence_' END || user_id
                   AS event_key,
               user_id, min(at) AS at,
               jsonb_agg(given ORDER BY id) FILTER (WHERE what = 'xp') AS xp,
               jsonb_agg(given ORDER BY id) FILTER (WHERE what = 'credits') AS credits,
               jsonb_agg(given ORDER BY id) FILTER (WHERE what = 'skills') AS skills,
               jsonb_agg(given ORDER BY id) FILTER (WHERE what = 'badge') AS badges
          FROM adopted_rows
         GROUP BY kind, source_id, user_id
         ORDER BY min(at), user_id, kind, source_id) AS sources"""

CAUSES = """
UPDATE {table} t SET recorded_at = t.created_at, receipt_seq = c.seq
  FROM (SELECT e.id, r.seq
          FROM {table} e
          LEFT JOIN adopted_rows a ON a.what = '{what}' AND a.id = e.id
          LEFT JOIN reward_receipts r ON r.event_key = a.kind || '_' || a.source_id
                    || CASE a.kind WHEN 'tournament' THEN '_result_' ELSE '_presence_' END || a.user_id) AS c
 WHERE c.id = t.id"""

LEDGERS = {
    "xp_transactions": "xp",
    "credit_transactions": "credits",
    "skill_rewards": "skills",
}
DATED = {**dict.fromkeys(LEDGERS, "created_at"), "license_progressions": "advanced_at"}


def upgrade() -> None:
    """Add what ties entries to receipts, and write the receipts of what is there."""
    op.execute("ALTER TABLE xp_transactions ADD COLUMN specialization_id varchar(50) NOT NULL DEFAULT 'PLAYER'")
    for table in DATED:
        op.execute(f"ALTER TABLE {table} ADD COLUMN receipt_seq bigint, ADD COLUMN recorded_at timestamptz")
    op.execute(SPOKEN_OF)
    op.execute("DELETE FROM adopted_rows WHERE source_id IS NULL")
    op.execute("ANALYZE adopted_rows")
    op.execute(RECEIPTS)
    for table, what in LEDGERS.items():
        op.execute(CAUSES.format(table=table, what=what))
    op.execute("UPDATE license_progressions SET recorded_at = advanced_at")
    op.execute("DROP TABLE adopted_rows")
    for table in DATED:
        op.execute(
            f"ALTER TABLE {table} ALTER COLUMN recorded_at SET DEFAULT now(), ALTER COLUMN recorded_at SET NOT NULL"
        )
    adopted = count("SELECT count(*) FROM reward_receipts")
    if adopted:
        say(f"reward_receipts: {adopted} tournaments and sessions of users count as given")


def downgrade() -> None:
    """Drop adopted receipts, which `upgrade` writes again, and with them those of recorded events."""
    say_lost("reward_receipts", "receipts of recorded events, or payloads remembered for adopted ones",
             "origin <> 'adopted' OR payload_hash IS NOT NULL")  # fmt: skip
    op.execute("DELETE FROM reward_receipts")
    op.execute("ALTER SEQUENCE reward_receipts_seq RESTART")
    for table in DATED:
        op.execute(f"ALTER TABLE {table} DROP COLUMN receipt_seq, DROP COLUMN recorded_at")
    say_lost(
        "xp_transactions",
        "the specialization that XP was earned in",
        "specialization_id <> 'PLAYER'",
    )
    op.drop_column("xp_transactions", "specialization_id")
