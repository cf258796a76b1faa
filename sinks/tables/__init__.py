"""Every table, with every constraint named. The academy's own ten tables keep the names an existing database has."""

from sinks.tables.academy import (
    semesters,
    sessions,
    specialization_levels,
    specializations,
    tournament_rankings,
    users,
)
from sinks.tables.adoption import migration_removed_rows
from sinks.tables.alerts import alert_silences, reward_alerts
from sinks.tables.checked_references import REFERENCES_CHECKED_BY_STATEMENT
from sinks.tables.columns import metadata
from sinks.tables.coupling import coupling_checks, sync_plan_items, sync_plans
from sinks.tables.kafka import dead_letters, outbox, partition_positions
from sinks.tables.ledger import (
    credit_transactions,
    erased_values,
    ledger_seals,
    license_progressions,
    skill_rewards,
    xp_transactions,
)
from sinks.tables.operations import api_tokens, audit_log, replay_runs, scheduled_runs
from sinks.tables.receipts import credit_transfers, reward_receipts, rulesets, tournament_rosters
from sinks.tables.standing import (
    session_attendances,
    specialization_progress,
    tournament_badges,
    tournament_participations,
    user_licenses,
)

__all__ = [
    "REFERENCES_CHECKED_BY_STATEMENT",
    "alert_silences",
    "api_tokens",
    "audit_log",
    "coupling_checks",
    "credit_transactions",
    "credit_transfers",
    "dead_letters",
    "erased_values",
    "ledger_seals",
    "license_progressions",
    "metadata",
    "migration_removed_rows",
    "outbox",
    "partition_positions",
    "replay_runs",
    "reward_alerts",
    "reward_receipts",
    "rulesets",
    "scheduled_runs",
    "semesters",
    "session_attendances",
    "sessions",
    "skill_rewards",
    "specialization_levels",
    "specialization_progress",
    "specializations",
    "sync_plan_items",
    "sync_plans",
    "tournament_badges",
    "tournament_participations",
    "tournament_rankings",
    "tournament_rosters",
    "user_licenses",
    "users",
    "xp_transactions",
]
