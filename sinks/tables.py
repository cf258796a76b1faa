"""Every table, with every constraint named. The academy's own ten tables keep the names an existing database has."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

# What the ledger writes thousands of times a second carries no foreign keys: each costs 4 to 5 us per row, which came to
# more than half of the whole write. `REFERENCES_CHECKED_BY_STATEMENT` says what stands in their place.
REFERENCES_CHECKED_BY_STATEMENT = {
    "tournament_participations": {
        "user_id": "users",
        "semester_id": "semesters",
        "specialization_id": "specializations",
    },
    "session_attendances": {"user_id": "users", "session_id": "sessions", "specialization_id": "specializations"},
    "tournament_badges": {"user_id": "users", "semester_id": "semesters"},
    "xp_transactions": {"user_id": "users", "semester_id": "semesters", "specialization_id": "specializations"},
    "credit_transactions": {"user_id": "users", "semester_id": "semesters"},
    "skill_rewards": {"user_id": "users"},
    "credit_transfers": {"sender_id": "users", "receiver_id": "users"},
    "specialization_progress": {"student_id": "users", "specialization_id": "specializations"},
    "user_licenses": {"user_id": "users", "specialization_type": "specializations"},
}
"""Per table, its columns and the table each refers to.

An AFTER INSERT OR UPDATE trigger per statement (transition table, one set-based check a column, SQLSTATE 23503) refuses
rows of anybody's plain SQL that refer to nothing. The ledger, which creates and locks what it refers to in the same
transaction, is passed over (`WHEN (current_setting('laurels.recording', true) IS DISTINCT FROM 'on')`). On the other side,
rows of users, semesters, sessions and specializations are never deleted nor renumbered: a trigger on each refuses it.
"""

NOW = text("now()")
STATE_FILLFACTOR = 70
"""Room in each page of a state table, so that updates stay in it and touch no index."""


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(), nullable=False)


def _time(name: str, *, nullable: bool = False, now: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None)


def _count(name: str, type_: type[Any] = BigInteger, default: str = "0") -> Column[int]:
    return Column(name, type_, nullable=False, server_default=text(default))


def _references(table: str, column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


# The academy's own tables.

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, nullable=False, autoincrement=False),
    Column("email", Text),
    Column("role", Text, nullable=False, server_default="STUDENT"),
    _count("xp_balance"),
    _count("credit_balance"),
    _count("opening_xp"),
    _count("opening_credits"),
    _time("created_at", now=True),
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
    _time("held_at"),
    PrimaryKeyConstraint("id", name="sessions_pkey"),
    _references("sessions", "semester_id", "semesters.id"),
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
    _references("specialization_levels", "specialization_id", "specializations.id"),
    CheckConstraint("level >= 1", name="ck_specialization_levels_level"),
    CheckConstraint("xp_needed >= 0", name="ck_specialization_levels_xp_needed"),
)

tournament_participations = Table(
    "tournament_participations",
    metadata,
    _id(),
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
    _time("achieved_at"),
    PrimaryKeyConstraint("id", name="tournament_participations_pkey"),
    UniqueConstraint("user_id", "semester_id", name="uq_user_semester_participation"),
    Index("ix_tournament_participations_semester", "semester_id"),
    CheckConstraint("status IN ('final', 'withdrawn')", name="ck_tournament_participations_status"),
    CheckConstraint("revision >= 1", name="ck_tournament_participations_revision"),
)

tournament_rankings = Table(
    "tournament_rankings",
    metadata,
    _id(),
    Column("tournament_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("rank", Integer),
    Column("points", Numeric(10, 2)),
    PrimaryKeyConstraint("id", name="tournament_rankings_pkey"),
    UniqueConstraint("tournament_id", "user_id", name="uq_tournament_rankings_tournament_user"),
    _references("tournament_rankings", "tournament_id", "semesters.id"),
    _references("tournament_rankings", "user_id", "users.id"),
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
    _time("occurred_at"),
    PrimaryKeyConstraint("user_id", "session_id", name="uq_session_attendances_user_session"),
    CheckConstraint(
        "status IN ('present', 'late', 'absent', 'excused', 'withdrawn')", name="ck_session_attendances_status"
    ),
    CheckConstraint("revision >= 1", name="ck_session_attendances_revision"),
)

tournament_badges = Table(
    "tournament_badges",
    metadata,
    _id(),
    Column("user_id", BigInteger, nullable=False),
    Column("semester_id", BigInteger, nullable=False),
    Column("badge_type", String(50), nullable=False),
    _time("earned_at"),
    _time("revoked_at", nullable=True),
    PrimaryKeyConstraint("id", name="tournament_badges_pkey"),
    UniqueConstraint("user_id", "semester_id", "badge_type", name="uq_user_tournament_badge"),
)

# The ledger: append-only for everyone. `created_at` is when the award happened, `recorded_at` when we wrote it;
# `receipt_seq` names the receipt that caused the row, null on rows from before adoption.

xp_transactions = Table(
    "xp_transactions",
    metadata,
    _id(),
    Column("user_id", BigInteger, nullable=False),
    Column("transaction_type", String(50), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger),
    Column("description", Text),
    Column("semester_id", BigInteger),
    Column("specialization_id", String(50), nullable=False, server_default="PLAYER"),
    Column("idempotency_key", String(255), nullable=False),
    Column("receipt_seq", BigInteger),
    _time("created_at", now=True),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="xp_transactions_pkey"),
    UniqueConstraint("user_id", "semester_id", "transaction_type", name="uq_xp_transactions_user_semester_type"),
    UniqueConstraint("idempotency_key", name="uq_xp_transaction_idempotency"),
)

credit_transactions = Table(
    "credit_transactions",
    metadata,
    _id(),
    Column("user_id", BigInteger, nullable=False),
    Column("user_license_id", BigInteger),
    Column("transaction_type", String(50), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger),
    Column("description", Text),
    Column("semester_id", BigInteger),
    Column("enrollment_id", BigInteger),
    Column("idempotency_key", String(255), nullable=False),
    Column("receipt_seq", BigInteger),
    _time("created_at", now=True),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="credit_transactions_pkey"),
    UniqueConstraint("idempotency_key", name="uq_credit_transactions_idempotency_key"),
    _references("credit_transactions", "user_license_id", "user_licenses.id"),
    Index("ix_credit_transactions_user", "user_id"),
    Index("ix_credit_transactions_license", "user_license_id", postgresql_where=text("user_license_id IS NOT NULL")),
)

skill_rewards = Table(
    "skill_rewards",
    metadata,
    _id(),
    Column("user_id", BigInteger, nullable=False),
    Column("source_type", String(20), nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("skill_name", String(50), nullable=False),
    Column("points_awarded", Integer, nullable=False),
    Column("receipt_seq", BigInteger),
    _time("created_at", now=True),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="skill_rewards_pkey"),
    UniqueConstraint("user_id", "source_type", "source_id", "skill_name", name="uq_skill_rewards_user_source_skill"),
)

specialization_progress = Table(
    "specialization_progress",
    metadata,
    _id(),
    Column("student_id", BigInteger, nullable=False),
    Column("specialization_id", String(50), nullable=False),
    _count("current_level", Integer, "1"),
    _count("total_xp"),
    _count("completed_sessions"),
    _count("theory_hours_completed"),
    _count("practice_hours_completed"),
    _count("level_adjustment"),
    _count("milestones_paid"),
    _count("opening_xp"),
    _time("created_at", now=True),
    _time("updated_at", now=True),
    PrimaryKeyConstraint("id", name="specialization_progress_pkey"),
    UniqueConstraint("student_id", "specialization_id", name="uq_specialization_progress_user_spec"),
    CheckConstraint("current_level >= 1", name="ck_specialization_progress_level"),
    postgresql_with={"fillfactor": STATE_FILLFACTOR},
)

user_licenses = Table(
    "user_licenses",
    metadata,
    _id(),
    Column("user_id", BigInteger, nullable=False),
    Column("specialization_type", String(50), nullable=False),
    _count("current_level", Integer, "1"),
    _count("max_achieved_level", Integer, "1"),
    Column("football_skills", JSONB),
    Column("adopted_skills", JSONB),
    _time("rated_at", nullable=True),
    Column("rated_tournament_id", BigInteger),
    _time("started_at", now=True),
    PrimaryKeyConstraint("id", name="user_licenses_pkey"),
    UniqueConstraint("user_id", "specialization_type", name="uq_user_licenses_user_spec"),
    CheckConstraint("current_level >= 1", name="ck_user_licenses_level"),
    CheckConstraint("(rated_at IS NULL) = (rated_tournament_id IS NULL)", name="ck_user_licenses_rated"),
    postgresql_with={"fillfactor": STATE_FILLFACTOR},
)

license_progressions = Table(
    "license_progressions",
    metadata,
    _id(),
    Column("user_license_id", BigInteger, nullable=False),
    Column("from_level", Integer, nullable=False),
    Column("to_level", Integer, nullable=False),
    Column("advanced_by", BigInteger),
    Column("advancement_reason", Text),
    Column("receipt_seq", BigInteger),
    _time("advanced_at", now=True),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="license_progressions_pkey"),
    _references("license_progressions", "user_license_id", "user_licenses.id"),
    CheckConstraint("from_level <> to_level", name="ck_license_progressions_moves"),
    Index("ix_license_progressions_license", "user_license_id"),
)

# The pipeline's tables.

reward_receipts = Table(
    "reward_receipts",
    metadata,
    Column("event_key", String(255), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("corrects", String(255)),
    Column("revision", SmallInteger, nullable=False),
    Column("origin", String(20), nullable=False),
    Column("payload_hash", LargeBinary),
    Column("ruleset", String(64)),
    Column("topic", String(255)),
    Column("log_id", String(255)),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("grant", JSONB, nullable=False),
    _time("occurred_at"),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("event_key", name="pk_reward_receipts"),
    UniqueConstraint("user_id", "seq", name="uq_reward_receipts_user_seq"),
    CheckConstraint("origin = 'adopted' OR payload_hash IS NOT NULL", name="ck_reward_receipts_payload_hash"),
    CheckConstraint("revision >= 1", name="ck_reward_receipts_revision"),
    Index("ix_reward_receipts_corrections", "corrects", postgresql_where=text("corrects IS NOT NULL")),
    Index("ix_reward_receipts_seq", "seq", postgresql_using="brin", postgresql_with={"autosummarize": "true"}),
)

credit_transfers = Table(
    "credit_transfers",
    metadata,
    Column("sender_id", BigInteger, nullable=False),
    Column("idempotency_key", String(128), nullable=False),
    Column("receiver_id", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("memo", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("reason", String(50)),
    Column("receipt_seq", BigInteger, nullable=False),
    _time("occurred_at"),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("sender_id", "idempotency_key", name="uq_credit_transfers_sender_key"),
    CheckConstraint("sender_id <> receiver_id", name="ck_credit_transfers_two_users"),
    CheckConstraint("amount > 0", name="ck_credit_transfers_amount"),
    CheckConstraint(
        "(status = 'COMPLETED' AND reason IS NULL) OR (status = 'REJECTED' AND reason IS NOT NULL)",
        name="ck_credit_transfers_status",
    ),
    Index("ix_credit_transfers_receiver", "receiver_id"),
    Index("ix_credit_transfers_seq", "receipt_seq", postgresql_using="brin", postgresql_with={"autosummarize": "true"}),
)

tournament_rosters = Table(
    "tournament_rosters",
    metadata,
    Column("tournament_id", BigInteger, nullable=False),
    Column("participants", Integer, nullable=False),
    Column("user_ids", ARRAY(BigInteger)),
    _time("finalized_at"),
    Column("log_id", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("tournament_id", name="pk_tournament_rosters"),
    _references("tournament_rosters", "tournament_id", "semesters.id"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _id(),
    Column("topic", String(255), nullable=False),
    Column("log_id", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", String(50), nullable=False),
    Column("detail", Text, nullable=False),
    Column("user_id", BigInteger),
    Column("event_key", String(255)),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    _time("produced_at", nullable=True),
    Column("status", String(20), nullable=False, server_default="open"),
    _count("attempts", Integer, "1"),
    Column("resolved_by", Text),
    Column("resolution", Text),
    _time("recorded_at", now=True),
    _time("updated_at", now=True),
    PrimaryKeyConstraint("id", name="pk_dead_letters"),
    UniqueConstraint("log_id", "topic", "partition", "offset", name="uq_dead_letters_coordinates"),
    CheckConstraint("status IN ('open', 'final', 'retried', 'dropped')", name="ck_dead_letters_status"),
    Index("ix_dead_letters_status", "status", "id"),
)

partition_positions = Table(
    "partition_positions",
    metadata,
    Column("consumer_group", String(255), nullable=False),
    Column("topic", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("log_id", String(255), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("end_offset", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", String(255)),
    Column("generation", BigInteger),
    Column("stopped", Text),
    _time("updated_at", now=True),
    PrimaryKeyConstraint("consumer_group", "topic", "partition", name="pk_partition_positions"),
    CheckConstraint("next_offset >= 0", name="ck_partition_positions_next_offset"),
    postgresql_with={"fillfactor": 50},
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("lane", SmallInteger, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("messages", Text, nullable=False),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_outbox"),
    CheckConstraint("message_count > 0", name="ck_outbox_message_count"),
    # Every row is read once and deleted: vacuum after a fixed number of them, or the relay reads past the dead.
    postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 2000},
)

rulesets = Table(
    "rulesets",
    metadata,
    Column("hash", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("false")),
    Column("published_by", Text, nullable=False),
    _time("published_at", now=True),
    PrimaryKeyConstraint("hash", name="pk_rulesets"),
    Index("uq_rulesets_active", "active", unique=True, postgresql_where=text("active")),
)

reward_alerts = Table(
    "reward_alerts",
    metadata,
    Column("fingerprint", String(64), nullable=False),
    Column("kind", String(50), nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("annotations", JSONB, nullable=False),
    _count("count", BigInteger, "1"),
    _time("first_seen", now=True),
    _time("last_seen", now=True),
    _time("notified_at", nullable=True),
    _time("resolved_at", nullable=True),
    _count("flaps", Integer),
    _time("holds_since", nullable=True),
    Column("acknowledged_by", Text),
    PrimaryKeyConstraint("fingerprint", name="pk_reward_alerts"),
    CheckConstraint("severity IN ('critical', 'warning', 'info')", name="ck_reward_alerts_severity"),
    CheckConstraint("status IN ('firing', 'resolved')", name="ck_reward_alerts_status"),
    Index("ix_reward_alerts_firing", "kind", postgresql_where=text("status = 'firing'")),
)

alert_silences = Table(
    "alert_silences",
    metadata,
    _id(),
    Column("kind", String(50)),
    Column("subject", Text),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    _time("created_at", now=True),
    _time("expires_at"),
    PrimaryKeyConstraint("id", name="pk_alert_silences"),
    CheckConstraint("expires_at > created_at", name="ck_alert_silences_expires"),
)

audit_log = Table(
    "audit_log",
    metadata,
    _id(),
    Column("actor", Text, nullable=False),
    Column("action", String(100), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_audit_log"),
)

ledger_seals = Table(
    "ledger_seals",
    metadata,
    Column("number", BigInteger, nullable=False, autoincrement=False),
    Column("table_name", String(100), nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("rows_hash", LargeBinary, nullable=False),
    Column("marks", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _time("sealed_at"),
    PrimaryKeyConstraint("number", name="pk_ledger_seals"),
    UniqueConstraint("table_name", "last_id", name="uq_ledger_seals_range"),
    CheckConstraint("first_id <= last_id", name="ck_ledger_seals_range"),
)

erased_values = Table(
    "erased_values",
    metadata,
    Column("table_name", String(100), nullable=False),
    Column("column_name", String(100), nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("value_hash", LargeBinary, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    _time("erased_at", now=True),
    PrimaryKeyConstraint("table_name", "column_name", "row_id", name="pk_erased_values"),
)

migration_removed_rows = Table(
    "migration_removed_rows",
    metadata,
    _id(),
    Column("revision", String(50), nullable=False),
    Column("table_name", String(100), nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("action", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("row", JSONB, nullable=False),
    _time("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_migration_removed_rows"),
    CheckConstraint("action IN ('removed', 'changed', 'added')", name="ck_migration_removed_rows_action"),
)

replay_runs = Table(
    "replay_runs",
    metadata,
    Column("id", String(32), nullable=False),
    Column("status", String(20), nullable=False),
    Column("request", JSONB, nullable=False),
    Column("checkpoints", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("requested_by", Text, nullable=False),
    Column("error", Text),
    _time("created_at", now=True),
    _time("updated_at", now=True),
    PrimaryKeyConstraint("id", name="pk_replay_runs"),
    CheckConstraint(
        "status IN ('planned', 'running', 'paused', 'done', 'failed', 'cancelled')", name="ck_replay_runs_status"
    ),
)

sync_plans = Table(
    "sync_plans",
    metadata,
    Column("id", String(32), nullable=False),
    Column("source", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("advanced_by", BigInteger),
    _time("created_at", now=True),
    PrimaryKeyConstraint("id", name="pk_sync_plans"),
    CheckConstraint("source IN ('progress', 'license')", name="ck_sync_plans_source"),
)

sync_plan_items = Table(
    "sync_plan_items",
    metadata,
    Column("plan_id", String(32), nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("specialization_id", String(50), nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("progress_level", Integer),
    Column("license_level", Integer),
    Column("highest_level", Integer),
    Column("new_level", Integer, nullable=False),
    Column("outcome", String(10)),
    Column("detail", Text),
    _time("applied_at", nullable=True),
    PrimaryKeyConstraint("plan_id", "user_id", "specialization_id", name="pk_sync_plan_items"),
    _references("sync_plan_items", "plan_id", "sync_plans.id"),
    CheckConstraint("outcome IN ('synced', 'changed', 'refused')", name="ck_sync_plan_items_outcome"),
    CheckConstraint("(outcome IS NULL) = (applied_at IS NULL)", name="ck_sync_plan_items_applied"),
)

coupling_checks = Table(
    "coupling_checks",
    metadata,
    Column("side", Text, nullable=False),
    Column("user_ids", ARRAY(BigInteger), nullable=False),
    Column("specializations", ARRAY(Text), nullable=False),
    Column("levels", ARRAY(Integer), nullable=False),
    prefixes=["UNLOGGED"],
)

scheduled_runs = Table(
    "scheduled_runs",
    metadata,
    Column("task", String(100), nullable=False),
    Column("started_by", Text, nullable=False),
    Column("outcome", JSONB),
    _time("started_at", now=True),
    _time("finished_at", nullable=True),
    PrimaryKeyConstraint("task", name="pk_scheduled_runs"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("prefix", String(16), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("created_by", Text, nullable=False),
    _time("created_at", now=True),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    PrimaryKeyConstraint("prefix", name="pk_api_tokens"),
    CheckConstraint("role IN ('viewer', 'instructor', 'operator', 'admin')", name="ck_api_tokens_role"),
)
