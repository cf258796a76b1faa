"""The levels of each specialization as rows; INTERNSHIP has 3, and who stands above the maximum is brought to it."""

from alembic import op

from migrations.steps import change_back, keep, say, take_back

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LEVELS_TABLE = """
CREATE TABLE specialization_levels (
    specialization_id varchar(50) NOT NULL,
    level integer NOT NULL,
    name text NOT NULL,
    xp_needed bigint NOT NULL,
    CONSTRAINT pk_specialization_levels PRIMARY KEY (specialization_id, level),
    CONSTRAINT fk_specialization_levels_specialization_id
        FOREIGN KEY (specialization_id) REFERENCES specializations (id),
    CONSTRAINT ck_specialization_levels_level CHECK (level >= 1),
    CONSTRAINT ck_specialization_levels_xp_needed CHECK (xp_needed >= 0)
)"""

LEVELS = {
    "PLAYER": ("Player", (0, 500, 1500, 3000, 5000, 8000, 12000, 18000)),
    "COACH": ("Coach", (0, 1000, 2500, 4500, 7000, 10000, 14000, 20000)),
    "INTERNSHIP": ("Internship", (0, 1000, 3000)),
}
INTERNSHIP_NAMES = ("Junior", "Mid-level", "Senior")

OUTSIDE = """
SELECT t.id FROM {table} t JOIN specializations s ON s.id = t.{column}
 WHERE t.current_level NOT BETWEEN 1 AND s.max_levels"""

BRING_INSIDE = """
UPDATE {table} t SET current_level = greatest(1, least(t.current_level, s.max_levels))
  FROM specializations s WHERE s.id = t.{column} AND t.current_level NOT BETWEEN 1 AND s.max_levels"""

PROGRESSIONS = """
WITH moved AS (
    INSERT INTO license_progressions (user_license_id, from_level, to_level, advancement_reason, advanced_at)
    SELECT l.id, l.current_level, greatest(1, least(l.current_level, s.max_levels)),
           'adoption: ' || s.id || ' has ' || s.max_levels || ' levels', now()
      FROM user_licenses l JOIN specializations s ON s.id = l.specialization_type
     WHERE l.current_level NOT BETWEEN 1 AND s.max_levels
     ORDER BY l.id
    RETURNING *
)
INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, row)
SELECT '0003', 'license_progressions', id, 'added', 'a level above the maximum was lowered', to_jsonb(moved)
  FROM moved"""

CHANGED = "m.revision = '0003' AND m.table_name = 'specializations'"

STATES = (
    ("specialization_progress", "specialization_id"),
    ("user_licenses", "specialization_type"),
)


def upgrade() -> None:
    """Correct the maxima, list the levels, lower who stands above."""
    for specialization, (name, needs) in LEVELS.items():
        op.execute(
            "INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, row) "
            "SELECT '0003', 'specializations', 0, 'changed', 'the number of levels', to_jsonb(s) "
            f"FROM specializations s WHERE id = '{specialization}' AND max_levels <> {len(needs)}"
        )
        op.execute(
            "WITH added AS (INSERT INTO specializations (id, name, max_levels) "
            f"VALUES ('{specialization}', '{name}', {len(needs)}) ON CONFLICT (id) DO NOTHING RETURNING *) "
            "INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, row) "
            "SELECT '0003', 'specializations', 0, 'added', 'it was missing', to_jsonb(added) FROM added"
        )
        op.execute(f"UPDATE specializations SET max_levels = {len(needs)} WHERE id = '{specialization}'")
    op.create_check_constraint("ck_specializations_max_levels", "specializations", "max_levels >= 1")
    op.execute(LEVELS_TABLE)
    for specialization, (_, needs) in LEVELS.items():
        for level, need in enumerate(needs, start=1):
            name = INTERNSHIP_NAMES[level - 1] if specialization == "INTERNSHIP" else f"Level {level}"
            op.execute(f"INSERT INTO specialization_levels VALUES ('{specialization}', {level}, '{name}', {need})")
    for table, column in STATES:
        reason = "a level outside its specialization's"
        keep(
            revision,
            table,
            "changed",
            reason,
            OUTSIDE.format(table=table, column=column),
        )
    op.execute(PROGRESSIONS)
    for table, column in STATES:
        op.execute(BRING_INSIDE.format(table=table, column=column))


def downgrade() -> None:
    """Lift again who was lowered and has not moved since; forget the levels."""
    take_back(revision, "license_progressions")
    for table, column in STATES:
        lowered = f"least((m.row ->> 'current_level')::integer, (SELECT max_levels FROM specializations WHERE id = t.{column}))"
        moved = f"t.current_level <> greatest(1, {lowered})"
        change_back(revision, table, ("current_level",), unless=moved)
    say("specialization_levels is dropped: what was changed in it by hand is lost")
    op.drop_table("specialization_levels")
    op.drop_constraint("ck_specializations_max_levels", "specializations")
    op.execute(
        "UPDATE specializations s SET max_levels = (m.row ->> 'max_levels')::integer FROM migration_removed_rows m "
        f"WHERE {CHANGED} AND m.action = 'changed' AND m.row ->> 'id' = s.id"
    )
    op.execute(
        "DELETE FROM specializations s USING migration_removed_rows m "
        f"WHERE {CHANGED} AND m.action = 'added' AND m.row ->> 'id' = s.id "
        "AND NOT EXISTS (SELECT FROM specialization_progress p WHERE p.specialization_id = s.id)"
    )
    op.execute("DELETE FROM migration_removed_rows WHERE revision = '0003' AND table_name = 'specializations'")
