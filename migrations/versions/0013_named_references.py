"""Every reference has its own name, licenses name a specialization that exists, and dates default to now."""

from alembic import op
from sqlalchemy import text

from migrations.steps import put_back, remove

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

REFERENCES = (
    ("sessions", "semester_id", "semesters"),
    ("tournament_participations", "user_id", "users"),
    ("tournament_participations", "semester_id", "semesters"),
    ("tournament_rankings", "tournament_id", "semesters"),
    ("tournament_rankings", "user_id", "users"),
    ("tournament_badges", "user_id", "users"),
    ("tournament_badges", "semester_id", "semesters"),
    ("xp_transactions", "user_id", "users"),
    ("xp_transactions", "semester_id", "semesters"),
    ("credit_transactions", "user_id", "users"),
    ("credit_transactions", "user_license_id", "user_licenses"),
    ("credit_transactions", "semester_id", "semesters"),
    ("skill_rewards", "user_id", "users"),
    ("specialization_progress", "student_id", "users"),
    ("specialization_progress", "specialization_id", "specializations"),
    ("user_licenses", "user_id", "users"),
    ("license_progressions", "user_license_id", "user_licenses"),
)

DATES = (
    ("xp_transactions", "created_at"),
    ("credit_transactions", "created_at"),
    ("skill_rewards", "created_at"),
    ("specialization_progress", "created_at"),
    ("specialization_progress", "updated_at"),
    ("user_licenses", "started_at"),
    ("license_progressions", "advanced_at"),
)

FOREIGN_KEY = """
SELECT c.conname FROM pg_constraint c
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
 WHERE c.contype = 'f' AND c.conrelid = to_regclass(:table) AND a.attname = :column"""


def upgrade() -> None:
    """Rename what there is, add what is missing."""
    bind = op.get_bind()
    for table, column, target in REFERENCES:
        name = f"fk_{table}_{column}"
        present = bind.execute(text(FOREIGN_KEY), {"table": table, "column": column}).scalars().first()
        if present is None:
            op.create_foreign_key(name, table, target, [column], ["id"])
        elif present != name:
            op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{present}" TO {name}')
    op.create_foreign_key(
        "fk_user_licenses_specialization_type",
        "user_licenses",
        "specializations",
        ["specialization_type"],
        ["id"],
    )
    for table, column in DATES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT now()")
    unmoved = "SELECT id FROM license_progressions WHERE from_level = to_level"
    remove(
        revision,
        "license_progressions",
        "a progression from a level to itself",
        unmoved,
    )
    op.create_check_constraint(
        "ck_license_progressions_moves",
        "license_progressions",
        "from_level <> to_level",
    )
    op.create_index("ix_license_progressions_license", "license_progressions", ["user_license_id"])
    op.create_index("ix_credit_transactions_user", "credit_transactions", ["user_id"])


def downgrade() -> None:
    """Give the references the names that Postgres gives."""
    op.drop_index("ix_credit_transactions_user")
    op.drop_index("ix_license_progressions_license")
    op.drop_constraint("ck_license_progressions_moves", "license_progressions")
    put_back(revision, "license_progressions")
    for table, column in DATES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")
    op.drop_constraint("fk_user_licenses_specialization_type", "user_licenses")
    for table, column, _ in REFERENCES:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT fk_{table}_{column} TO {table}_{column}_fkey")
