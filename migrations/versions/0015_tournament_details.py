"""What events say of a tournament and the results in it: participants, skills, specialization, revision."""

from alembic import op

from migrations.steps import change_back, keep, say_lost

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATUSES = "('IN_PROGRESS', 'COMPLETED', 'REWARDS_DISTRIBUTED')"
UNKNOWN_STATUS = f"SELECT id FROM semesters WHERE tournament_status NOT IN {STATUSES}"

PARTICIPATIONS = """
ALTER TABLE tournament_participations
    ADD COLUMN participants integer,
    ADD COLUMN skills jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN specialization_id varchar(50) NOT NULL DEFAULT 'PLAYER',
    ADD COLUMN status varchar(20) NOT NULL DEFAULT 'final',
    ADD COLUMN revision smallint NOT NULL DEFAULT 1,
    ADD COLUMN adopted boolean NOT NULL DEFAULT true,
    ADD CONSTRAINT ck_tournament_participations_status CHECK (status IN ('final', 'withdrawn')),
    ADD CONSTRAINT ck_tournament_participations_revision CHECK (revision >= 1)"""


def upgrade() -> None:
    """Participations that are there were adopted; those to come are not."""
    keep(
        revision,
        "semesters",
        "changed",
        "a tournament status that means nothing here",
        UNKNOWN_STATUS,
    )
    op.execute(f"UPDATE semesters SET tournament_status = NULL WHERE tournament_status NOT IN {STATUSES}")
    op.execute("ALTER TABLE semesters ALTER COLUMN tournament_status SET DEFAULT 'IN_PROGRESS'")
    op.create_check_constraint(
        "ck_semesters_tournament_status",
        "semesters",
        f"tournament_status IN {STATUSES}",
    )
    op.execute("ALTER TABLE semesters ADD COLUMN expected_participants integer")
    op.create_check_constraint("ck_semesters_expected_participants", "semesters", "expected_participants >= 0")
    op.execute(PARTICIPATIONS)
    op.execute("ALTER TABLE tournament_participations ALTER COLUMN adopted SET DEFAULT false")
    op.execute("ALTER TABLE tournament_badges ADD COLUMN revoked_at timestamptz")


def downgrade() -> None:
    """Drop what only events say: replaying them brings it back."""
    say_lost("tournament_badges", "when badges were revoked", "revoked_at IS NOT NULL")
    op.drop_column("tournament_badges", "revoked_at")
    say_lost(
        "tournament_participations",
        "skills, participants and revision of recorded results",
        "NOT adopted",
    )
    for column in (
        "participants",
        "skills",
        "specialization_id",
        "status",
        "revision",
        "adopted",
    ):
        op.drop_column("tournament_participations", column)
    say_lost(
        "semesters",
        "how many participants a roster expects",
        "expected_participants IS NOT NULL",
    )
    op.drop_column("semesters", "expected_participants")
    op.drop_constraint("ck_semesters_tournament_status", "semesters")
    op.execute("ALTER TABLE semesters ALTER COLUMN tournament_status DROP DEFAULT")
    change_back(
        revision,
        "semesters",
        ("tournament_status",),
        unless="t.tournament_status IS NOT NULL",
    )
