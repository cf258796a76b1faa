"""The academy's own: people, tournaments (its `semesters`), sessions, specializations."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from sinks.tables.columns import STATE_FILLFACTOR, count, identity, metadata, moment, references

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, nullable=False, autoincrement=False),
    Column("email", Text),
    Column("role", Text, nullable=False, server_default="STUDENT"),
    count("xp_balance"),
    count("credit_balance"),
    count("opening_xp"),
    count("opening_credits"),
    moment("created_at", now=True),
    PrimaryKeyConstraint("id", name="users_pkey"),
    postgresql_with={"fillfactor": STATE_FILLFACTOR},
)

semesters = Table(
    "semesters",
    metadata,
    Column("id", BigInteger, nullable=False, autoincrement=False),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tournament_status", String(50), server_default="IN_PROGRESS"),
    Column("specialization_type", String(50)),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("expected_participants", Integer),
    PrimaryKeyConstraint("id", name="semesters_pkey"),
    CheckConstraint(
        "tournament_status IN ('IN_PROGRESS', 'COMPLETED', 'REWARDS_DISTRIBUTED')",
        name="ck_semesters_tournament_status",
    ),
    CheckConstraint("expected_participants >= 0", name="ck_semesters_expected_participants"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", BigInteger, nullable=False, autoincrement=False),
    Column("semester_id", BigInteger),
    Column("title", Text, nullable=False),
    moment("held_at"),
    PrimaryKeyConstraint("id", name="sessions_pkey"),
    references("sessions", "semester_id", "semesters.id"),
)

specializations = Table(
    "specializations",
    metadata,
    Column("id", String(50), nullable=False),
    Column("name", Text, nullable=False),
    Column("max_levels", Integer, nullable=False),
    PrimaryKeyConstraint("id", name="specializations_pkey"),
    CheckConstraint("max_levels >= 1", name="ck_specializations_max_levels"),
)

specialization_levels = Table(
    "specialization_levels",
    metadata,
    Column("specialization_id", String(50), nullable=False),
    Column("level", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("xp_needed", BigInteger, nullable=False),
    PrimaryKeyConstraint("specialization_id", "level", name="pk_specialization_levels"),
    references("specialization_levels", "specialization_id", "specializations.id"),
    CheckConstraint("level >= 1", name="ck_specialization_levels_level"),
    CheckConstraint("xp_needed >= 0", name="ck_specialization_levels_xp_needed"),
)

tournament_rankings = Table(
    "tournament_rankings",
    metadata,
    identity(),
    Column("tournament_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("rank", Integer),
    Column("points", Numeric(10, 2)),
    PrimaryKeyConstraint("id", name="tournament_rankings_pkey"),
    UniqueConstraint("tournament_id", "user_id", name="uq_tournament_rankings_tournament_user"),
    references("tournament_rankings", "tournament_id", "semesters.id"),
    references("tournament_rankings", "user_id", "users.id"),
)
