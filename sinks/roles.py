"""The database roles and what each may do.

Roles belong to the whole cluster and privileges follow the tables, so they are not a migration: whoever brings a database
to its newest revision applies them anew, and what was granted by hand in between is taken away again.

The roles cannot log in: an operator grants them to the users that do (`GRANT laurels_worker TO ...`). Migrations run as
the tables' owner.
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from sinks.tables import metadata

WORKER: Final = "laurels_worker"
API: Final = "laurels_api"
OPERATOR: Final = "laurels_operator"
READONLY: Final = "laurels_readonly"
ROLES: Final = (WORKER, API, OPERATOR, READONLY)

SECRETS: Final = {"api_tokens": "prefix, name, role, created_by, created_at, expires_at, revoked_at"}
"""Tables that are not for everyone, with the columns that are."""

RECORDING: Final = {
    "users": "INSERT, UPDATE (xp_balance, credit_balance)",
    "semesters": "INSERT, UPDATE (tournament_status, expected_participants)",
    "sessions": "INSERT",
    "tournament_participations": "INSERT, UPDATE (placement, participants, skills, specialization_id, status, revision, "
    "adopted, xp_awarded, credits_awarded, achieved_at)",
    "session_attendances": "INSERT, UPDATE (specialization_id, status, revision, minutes, theory_hours, "
    "practice_hours, skills, occurred_at)",
    "tournament_badges": "INSERT, UPDATE (revoked_at)",
    "xp_transactions": "INSERT",
    "credit_transactions": "INSERT",
    "skill_rewards": "INSERT",
    "license_progressions": "INSERT",
    "reward_receipts": "INSERT, UPDATE (payload_hash)",
    "specialization_progress": "INSERT, UPDATE (current_level, total_xp, completed_sessions, theory_hours_completed, "
    "practice_hours_completed, level_adjustment, milestones_paid, updated_at)",
    "user_licenses": "INSERT, UPDATE (current_level, max_achieved_level, football_skills, rated_at, "
    "rated_tournament_id)",
    "credit_transfers": "INSERT",
    "tournament_rosters": 'INSERT, UPDATE (participants, user_ids, finalized_at, log_id, partition, "offset", '
    "recorded_at)",
    "dead_letters": "INSERT, UPDATE",
    "partition_positions": "INSERT, UPDATE",
    "outbox": "INSERT, DELETE",
    "reward_alerts": "INSERT, UPDATE",
    "alert_silences": "INSERT, UPDATE",
    "replay_runs": "INSERT, UPDATE",
    "sync_plans": "INSERT",
    "sync_plan_items": "INSERT, UPDATE (outcome, detail, applied_at)",
    "scheduled_runs": "INSERT, UPDATE",
    "audit_log": "INSERT",
    "ledger_seals": "INSERT",
}
"""What recording takes, by the worker, the API and operators alike: a command given by HTTP is recorded at once."""

PUBLISHING: Final = {"rulesets": "INSERT, UPDATE (active)"}
"""What changing the rules takes."""

BESIDES: Final = {
    WORKER: {},
    API: {**PUBLISHING, "api_tokens": "SELECT, INSERT, UPDATE (revoked_at)"},
    OPERATOR: PUBLISHING,
}
"""What each role that records may do besides. Who operates makes no tokens: with one, others would act in any name."""

SEQUENCES: Final = ("reward_receipts_seq", "partition_epochs")

COUNTERS: Final = (
    "reward_receipts_seq",
    "xp_transactions_id_seq",
    "credit_transactions_id_seq",
    "skill_rewards_id_seq",
    "license_progressions_id_seq",
)
"""Sequences that sealing reads, to know which ids were handed out."""

_CREATE = """
DO $$
BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION
    -- Another database of the cluster may be migrated at this moment.
    WHEN duplicate_object OR unique_violation THEN NULL;
END $$"""


def apply_roles(connection: Connection) -> list[str]:
    """Create the roles and grant them exactly what they need; what could not be done, as lines for an operator."""
    missing = [role for role in ROLES if not _create(connection, role)]
    present = [role for role in ROLES if role not in missing]
    revoke_roles(connection)
    for role in present:
        for statement in _grants(connection, role):
            connection.execute(text(statement))
    if not missing:
        return []
    wanted = "; ".join(f"CREATE ROLE {role} NOLOGIN" for role in missing)
    return [f"not permitted to create roles: have an administrator run `{wanted}`, then run `laurels migrate` again"]


def revoke_roles(connection: Connection) -> None:
    """Take from the roles whatever they may do with our tables, as far as those exist."""
    tables = [table for table in metadata.tables if _has(connection, table)]
    sequences = [sequence for sequence in {*SEQUENCES, *COUNTERS} if _has(connection, sequence)]
    for role in filter(partial(_exists, connection), ROLES):
        connection.execute(text(f"REVOKE ALL ON SCHEMA {_schema(connection)} FROM {role}"))
        if tables:
            connection.execute(text(f"REVOKE ALL ON TABLE {', '.join(tables)} FROM {role}"))
        if sequences:
            connection.execute(text(f"REVOKE ALL ON SEQUENCE {', '.join(sequences)} FROM {role}"))


def _grants(connection: Connection, role: str) -> Iterator[str]:
    yield f"GRANT USAGE ON SCHEMA {_schema(connection)} TO {role}"
    for table in metadata.tables:
        columns = f" ({SECRETS[table]})" if table in SECRETS else ""
        yield f"GRANT SELECT{columns} ON {table} TO {role}"
    if role == READONLY:
        return
    for table, privileges in (*RECORDING.items(), *BESIDES[role].items()):
        yield f"GRANT {privileges} ON {table} TO {role}"
    for sequence in SEQUENCES:
        yield f"GRANT USAGE ON SEQUENCE {sequence} TO {role}"
    yield f"GRANT SELECT ON SEQUENCE {', '.join(COUNTERS)} TO {role}"


def _create(connection: Connection, role: str) -> bool:
    if _exists(connection, role):
        return True
    try:
        with connection.begin_nested():
            connection.execute(text(_CREATE.format(role=role)))
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != "42501":
            raise
        return False
    return True


def _exists(connection: Connection, role: str) -> bool:
    found = connection.execute(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role})
    return bool(found.scalar_one())


def _has(connection: Connection, relation: str) -> bool:
    return connection.execute(text("SELECT to_regclass(:name)"), {"name": relation}).scalar_one() is not None


def _schema(connection: Connection) -> str:
    return str(connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one())
