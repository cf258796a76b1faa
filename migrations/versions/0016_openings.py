"""Where counting starts: opening balances, the levels that stand, the milestones that count as paid."""

from alembic import op

from migrations.steps import count, say, say_lost

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Users open with 0, so that what does not add up shows. XP rows of an adopted database are PLAYER's.
OPEN = """
UPDATE specialization_progress p
   SET opening_xp = CASE
           WHEN p.specialization_id = 'PLAYER'
                AND EXISTS (SELECT FROM xp_transactions x WHERE x.user_id = p.student_id) THEN 0
           ELSE p.total_xp
       END,
       level_adjustment = p.current_level - coalesce(
           (SELECT max(l.level) FROM specialization_levels l
             WHERE l.specialization_id = p.specialization_id AND l.xp_needed <= p.total_xp), 1),
       milestones_paid = greatest(0, floor(p.completed_sessions / 10.0))"""


def upgrade() -> None:
    """Let what stands stand."""
    op.execute("""
ALTER TABLE users
    ADD COLUMN opening_xp bigint NOT NULL DEFAULT 0,
    ADD COLUMN opening_credits bigint NOT NULL DEFAULT 0,
    ALTER COLUMN email DROP NOT NULL,
    SET (fillfactor = 70)""")
    op.execute("""
ALTER TABLE specialization_progress
    ADD COLUMN level_adjustment bigint NOT NULL DEFAULT 0,
    ADD COLUMN milestones_paid bigint NOT NULL DEFAULT 0,
    ADD COLUMN opening_xp bigint NOT NULL DEFAULT 0,
    SET (fillfactor = 70)""")
    op.execute(OPEN)
    adjusted = count("SELECT count(*) FROM specialization_progress WHERE level_adjustment <> 0")
    if adjusted:
        say(f"specialization_progress: {adjusted} levels stand apart from what their XP give")


def downgrade() -> None:
    """Forget the openings: `upgrade` finds the same ones, but for what was recorded in between."""
    say_lost("users", "opening balances", "opening_xp <> 0 OR opening_credits <> 0")
    op.execute("""
ALTER TABLE specialization_progress
    DROP COLUMN level_adjustment, DROP COLUMN milestones_paid, DROP COLUMN opening_xp, RESET (fillfactor)""")
    op.execute("ALTER TABLE users DROP COLUMN opening_xp, DROP COLUMN opening_credits, RESET (fillfactor)")
    nameless = count("SELECT count(*) FROM users WHERE email IS NULL")
    if nameless:
        say(f"users.email stays nullable, since {nameless} users have none")
    else:
        op.execute("ALTER TABLE users ALTER COLUMN email SET NOT NULL")
