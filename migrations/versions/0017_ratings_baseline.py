"""The skill ratings a license came with are what later results continue from."""

from alembic import op

from migrations.steps import change_back, count, keep, say

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

READABLE = """
SELECT l.id, jsonb_object_agg(s.skill, jsonb_build_object('rating', s.rating, 'results', s.results))
             FILTER (WHERE jsonb_typeof(s.rating) = 'number') AS skills
  FROM user_licenses l
  LEFT JOIN LATERAL (
      SELECT e.key AS skill,
             CASE WHEN jsonb_typeof(e.value) = 'number' THEN e.value ELSE e.value -> 'rating' END AS rating,
             CASE WHEN e.value ->> 'results' ~ '^[0-9]{1,9}$' THEN (e.value ->> 'results')::integer
                  ELSE 0 END AS results
        FROM jsonb_each(CASE WHEN jsonb_typeof(l.football_skills) = 'object' THEN l.football_skills ELSE '{}' END) e
  ) s ON true
 WHERE l.football_skills IS NOT NULL
 GROUP BY l.id"""

UNREADABLE = f"""
SELECT l.id FROM user_licenses l JOIN ({READABLE}) AS r ON r.id = l.id
 WHERE l.football_skills IS DISTINCT FROM coalesce(r.skills, '{{}}')"""


def upgrade() -> None:
    """Remember the ratings; bring odd ones into the form that ratings have."""
    keep(
        revision,
        "user_licenses",
        "changed",
        "skills that are not of the form rating and results",
        UNREADABLE,
    )
    op.execute(
        f"UPDATE user_licenses l SET football_skills = coalesce(r.skills, '{{}}') FROM ({READABLE}) AS r "
        "WHERE r.id = l.id AND l.football_skills IS DISTINCT FROM coalesce(r.skills, '{}')"
    )
    op.execute("""
ALTER TABLE user_licenses
    ADD COLUMN adopted_skills jsonb,
    ADD COLUMN rated_at timestamptz,
    ADD COLUMN rated_tournament_id bigint,
    ADD CONSTRAINT ck_user_licenses_rated CHECK ((rated_at IS NULL) = (rated_tournament_id IS NULL)),
    SET (fillfactor = 70)""")
    op.execute("UPDATE user_licenses SET adopted_skills = football_skills WHERE football_skills IS NOT NULL")
    say(f"user_licenses: {count('SELECT count(adopted_skills) FROM user_licenses')} adopted ratings remembered")


def downgrade() -> None:
    """Forget the baseline; the ratings of licenses that were rated since stay as they are now."""
    rated = count("SELECT count(*) FROM user_licenses WHERE rated_at IS NOT NULL")
    if rated:
        say(f"lost for good: the ratings that {rated} licenses had when adopted; their ratings of today stay")
    change_back(revision, "user_licenses", ("football_skills",), unless="t.rated_at IS NOT NULL")
    op.execute("""
ALTER TABLE user_licenses
    DROP COLUMN adopted_skills, DROP COLUMN rated_at, DROP COLUMN rated_tournament_id, RESET (fillfactor)""")
