"""What operators do and may: the audit log, tokens, replays, what runs on a schedule."""

from sqlalchemy import CheckConstraint, Column, LargeBinary, PrimaryKeyConstraint, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from sinks.tables.columns import identity, metadata, moment

audit_log = Table(
    "audit_log",
    metadata,
    identity(),
    Column("actor", Text, nullable=False),
    Column("action", String(100), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    moment("recorded_at", now=True),
    PrimaryKeyConstraint("id", name="pk_audit_log"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("prefix", String(16), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("created_by", Text, nullable=False),
    moment("created_at", now=True),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    PrimaryKeyConstraint("prefix", name="pk_api_tokens"),
    CheckConstraint("role IN ('viewer', 'instructor', 'operator', 'admin')", name="ck_api_tokens_role"),
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
    moment("created_at", now=True),
    moment("updated_at", now=True),
    PrimaryKeyConstraint("id", name="pk_replay_runs"),
    CheckConstraint(
        "status IN ('planned', 'running', 'paused', 'done', 'failed', 'cancelled')", name="ck_replay_runs_status"
    ),
)

scheduled_runs = Table(
    "scheduled_runs",
    metadata,
    Column("task", String(100), nullable=False),
    Column("started_by", Text, nullable=False),
    Column("outcome", JSONB),
    moment("started_at", now=True),
    moment("finished_at", nullable=True),
    PrimaryKeyConstraint("task", name="pk_scheduled_runs"),
)
