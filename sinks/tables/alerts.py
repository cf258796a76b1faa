"""Alerts, and the silences about them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sinks.tables.columns import count, identity, metadata, moment

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
    count("count", BigInteger, "1"),
    moment("first_seen", now=True),
    moment("last_seen", now=True),
    moment("notified_at", nullable=True),
    moment("resolved_at", nullable=True),
    count("flaps", Integer),
    moment("holds_since", nullable=True),
    Column("acknowledged_by", Text),
    PrimaryKeyConstraint("fingerprint", name="pk_reward_alerts"),
    CheckConstraint("severity IN ('critical', 'warning', 'info')", name="ck_reward_alerts_severity"),
    CheckConstraint("status IN ('firing', 'resolved')", name="ck_reward_alerts_status"),
    Index("ix_reward_alerts_firing", "kind", postgresql_where=text("status = 'firing'")),
)

alert_silences = Table(
    "alert_silences",
    metadata,
    identity(),
    Column("kind", String(50)),
    Column("subject", Text),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    moment("created_at", now=True),
    moment("expires_at"),
    PrimaryKeyConstraint("id", name="pk_alert_silences"),
    CheckConstraint("expires_at > created_at", name="ck_alert_silences_expires"),
)
