"""Nobody's progress stands above its specialization's maximum, whoever writes it.

A check constraint cannot look into another table, and a foreign key to the level's row would be a query for every update
of a progress. This trigger asks only when a level changes.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

CHECK = """
CREATE FUNCTION laurels_level_maximum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    maximum integer;
BEGIN
    SELECT max_levels INTO maximum FROM specializations WHERE id = NEW.specialization_id;
    IF NEW.current_level > maximum THEN
        RAISE EXCEPTION 'level % of % is above its maximum of %', NEW.current_level, NEW.specialization_id, maximum
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, COLUMN = 'current_level',
                  CONSTRAINT = 'ck_specialization_progress_level_maximum';
    END IF;
    RETURN NULL;
END $$"""

LOWERED = """
CREATE FUNCTION laurels_maximum_lowered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM specialization_progress WHERE specialization_id = NEW.id AND current_level > NEW.max_levels)
    THEN
        RAISE EXCEPTION 'someone in % stands above level %', NEW.id, NEW.max_levels
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, COLUMN = 'max_levels',
                  CONSTRAINT = 'ck_specializations_max_levels_reached';
    END IF;
    RETURN NULL;
END $$"""


def upgrade() -> None:
    """Check levels where they are written and maxima where they are lowered."""
    op.execute(CHECK)
    op.execute(LOWERED)
    # Level 1 is always there. The two events have a trigger each, because an INSERT has no OLD to compare with.
    op.execute(
        "CREATE CONSTRAINT TRIGGER ck_specialization_progress_level_maximum "
        "AFTER UPDATE OF current_level, specialization_id ON specialization_progress FOR EACH ROW "
        "WHEN (NEW.current_level > OLD.current_level OR NEW.specialization_id <> OLD.specialization_id) "
        "EXECUTE FUNCTION laurels_level_maximum()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER ck_specialization_progress_level_maximum_insert "
        "AFTER INSERT ON specialization_progress FOR EACH ROW WHEN (NEW.current_level > 1) "
        "EXECUTE FUNCTION laurels_level_maximum()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER ck_specializations_max_levels_reached "
        "AFTER UPDATE OF max_levels ON specializations FOR EACH ROW WHEN (NEW.max_levels < OLD.max_levels) "
        "EXECUTE FUNCTION laurels_maximum_lowered()"
    )


def downgrade() -> None:
    """Drop the triggers with their functions."""
    op.execute("DROP FUNCTION laurels_level_maximum() CASCADE")
    op.execute("DROP FUNCTION laurels_maximum_lowered() CASCADE")
