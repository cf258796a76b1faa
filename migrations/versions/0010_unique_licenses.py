"""One license per user and specialization: the highest level stays, and what named the others names it."""

from alembic import op

from migrations.steps import change_back, keep, put_back, remove

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

RANKED = """
SELECT id, first_value(id) OVER (
           PARTITION BY user_id, specialization_type
           ORDER BY current_level DESC, max_achieved_level DESC, started_at DESC, id DESC
       ) AS stays
  FROM user_licenses"""
DUPLICATES = f"SELECT id FROM ({RANKED}) AS ranked WHERE id <> stays"
REFERRERS = ("license_progressions", "credit_transactions")


def upgrade() -> None:
    """Point progressions and credits to the license that stays, then remove the others."""
    for table in REFERRERS:
        named = f"SELECT id FROM {table} WHERE user_license_id IN ({DUPLICATES})"
        keep(
            revision,
            table,
            "changed",
            "it named a second license of the same user and specialization",
            named,
        )
        op.execute(
            f"UPDATE {table} t SET user_license_id = r.stays FROM ({RANKED}) AS r "
            "WHERE r.id = t.user_license_id AND r.id <> r.stays"
        )
    remove(
        revision,
        "user_licenses",
        "a second license of the same user and specialization",
        DUPLICATES,
    )
    op.create_unique_constraint(
        "uq_user_licenses_user_spec",
        "user_licenses",
        ["user_id", "specialization_type"],
    )


def downgrade() -> None:
    """Put the other licenses back, and what named them."""
    op.drop_constraint("uq_user_licenses_user_spec", "user_licenses")
    put_back(revision, "user_licenses")
    for table in REFERRERS:
        change_back(revision, table, ("user_license_id",))
