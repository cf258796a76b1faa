"""What each user took part in and has come to: updated in place, while the ledger beside it only grows."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sinks.tables.columns import STATE_FILLFACTOR, count, identity, metadata, moment

tournament_participations = Table(
    "tournament_participations",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("semester_id", BigInteger, nullable=False),
    Column("placement", Integer),
    Column("participants", Integer),
    Column("skills", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("specialization_id", String(50), nullable=False, server_default="PLAYER"),
    Column("status", String(20), nullable=False, server_default="final"),
    Column("revision", SmallInteger, nullable=False, server_default=text("1")),
    Column("adopted", Boolean, nullable=False, server_default=text("false")),
    Column("xp_awarded", BigInteger, nullable=False, server_default=text("0")),
    Column("credits_awarded", BigInteger, nullable=False, server_default=text("0")),
    moment("achieved_at"),
    PrimaryKeyConstraint("id", name="tournament_participations_pkey"),
    UniqueConstraint("user_id", "semester_id", name="uq_user_semester_participation"),
    Index("ix_tournament_participations_semester", "semester_id"),
    CheckConstraint("status IN ('final', 'withdrawn')", name="ck_tournament_participations_status"),
    CheckConstraint("revision >= 1", name="ck_tournament_participations_revision"),
)

session_attendances = Table(
    "session_attendances",
    metadata,
    Column("user_id", BigInteger, nullable=False),
    Column("session_id", BigInteger, nullable=False),
    Column("specialization_id", String(50), nullable=False),
    Column("status", String(20), nullable=False),
    Column("revision", SmallInteger, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("theory_hours", Integer, nullable=False),
    Column("practice_hours", Integer, nullable=False),
    Column("skills", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    moment("occurred_at"),
    PrimaryKeyConstraint("user_id", "session_id", name="uq_session_attendances_user_session"),
    CheckConstraint(
        "status IN ('present', 'late', 'absent', 'excused', 'withdrawn')", name="ck_session_attendances_status"
    ),
    CheckConstraint("revision >= 1", name="ck_session_attendances_revision"),
)

tournament_badges = Table(
    "tournament_badges",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("semester_id", BigInteger, nullable=False),
    Column("badge_type", String(50), nullable=False),
    moment("earned_at"),
    moment("revoked_at", nullable=True),
    PrimaryKeyConstraint("id", name="tournament_badges_pkey"),
    UniqueConstraint("user_id", "semester_id", "badge_type", name="uq_user_tournament_badge"),
)

specialization_progress = Table(
    "specialization_progress",
    metadata,
    identity(),
    Column("student_id", BigInteger, nullable=False),
    Column("specialization_id", String(50), nullable=False),
    count("current_level", Integer, "1"),
    count("total_xp"),
    count("completed_sessions"),
    count("theory_hours_completed"),
    count("practice_hours_completed"),
    count("level_adjustment"),
    count("milestones_paid"),
    count("opening_xp"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    PrimaryKeyConstraint("id", name="specialization_progress_pkey"),
    UniqueConstraint("student_id", "specialization_id", name="uq_specialization_progress_user_spec"),
    CheckConstraint("current_level >= 1", name="ck_specialization_progress_level"),
    postgresql_with={"fillfactor": STATE_FILLFACTOR},
)

user_licenses = Table(
    "user_licenses",
    metadata,
    identity(),
    Column("user_id", BigInteger, nullable=False),
    Column("specialization_type", String(50), nullable=False),
    count("current_level", Integer, "1"),
    count("max_achieved_level", Integer, "1"),
    Column("football_skills", JSONB),
    Column("adopted_skills", JSONB),
    moment("rated_at", nullable=True),
    Column("rated_tournament_id", BigInteger),
    moment("started_at", now=True),
    PrimaryKeyConstraint("id", name="user_licenses_pkey"),
    UniqueConstraint("user_id", "specialization_type", name="uq_user_licenses_user_spec"),
    CheckConstraint("current_level >= 1", name="ck_user_licenses_level"),
    CheckConstraint("(rated_at IS NULL) = (rated_tournament_id IS NULL)", name="ck_user_licenses_rated"),
    postgresql_with={"fillfactor": STATE_FILLFACTOR},
)
