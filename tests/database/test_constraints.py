"""Every constraint, each with the plain SQL that tries to break it."""

import psycopg2
import pytest
from psycopg2.errorcodes import CHECK_VIOLATION, FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION, UNIQUE_VIOLATION
from psycopg2.extensions import connection as Connection
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint

from sinks.tables import REFERENCES_CHECKED_BY_STATEMENT, metadata

XP = "INSERT INTO xp_transactions (user_id, transaction_type, amount, semester_id, idempotency_key, specialization_id) "
CREDITS = "INSERT INTO credit_transactions (user_id, transaction_type, amount, semester_id, idempotency_key) "
SKILL = "INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded) "
RESULT = (
    "INSERT INTO tournament_participations (user_id, semester_id, specialization_id, status, revision, achieved_at) "
)
PRESENCE = (
    "INSERT INTO session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours, "
    "practice_hours, occurred_at) "
)
BADGE = "INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) "
RECEIPT = 'INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, "grant", occurred_at) '
TRANSFER = (
    "INSERT INTO credit_transfers (sender_id, idempotency_key, receiver_id, amount, memo, status, reason, receipt_seq, "
    "occurred_at) "
)
LETTER = 'INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail, status) '
SYNC = "INSERT INTO sync_plan_items (plan_id, user_id, specialization_id, kinds, new_level) "
ALERT = "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations) "
SEAL = "INSERT INTO ledger_seals VALUES "
ERASED = "('users', 'email', 1, 'h', 1)"

UNIQUE = {
    "uq_user_semester_participation": RESULT + "VALUES (1, 10, 'PLAYER', 'final', 1, now())",
    "uq_tournament_rankings_tournament_user": "INSERT INTO tournament_rankings (tournament_id, user_id) VALUES (10, 1)",
    "uq_session_attendances_user_session": PRESENCE + "VALUES (1, 20, 'PLAYER', 'late', 2, 0, 0, 0, now())",
    "uq_user_tournament_badge": BADGE + "VALUES (1, 10, 'CHAMPION', now())",
    "uq_xp_transactions_user_semester_type": XP + "VALUES (1, 'TOURNAMENT_REWARD', 1, 10, 'another', 'PLAYER')",
    "uq_xp_transaction_idempotency": XP + "VALUES (2, 'X', 1, NULL, 'tournament_10_xp_1', 'PLAYER')",
    "uq_credit_transactions_idempotency_key": CREDITS + "VALUES (2, 'X', 1, NULL, 'tournament_10_reward_1')",
    "uq_skill_rewards_user_source_skill": SKILL + "VALUES (1, 'TOURNAMENT', 10, 'passing', 3)",
    "uq_specialization_progress_user_spec": "INSERT INTO specialization_progress (student_id, specialization_id) "
    "VALUES (1, 'PLAYER')",
    "uq_user_licenses_user_spec": "INSERT INTO user_licenses (user_id, specialization_type) VALUES (1, 'PLAYER')",
    "pk_reward_receipts": RECEIPT + "VALUES ('tournament_10_result_1', 9, 1, 1, 'event', 'y', '{}', now())",
    "uq_reward_receipts_user_seq": RECEIPT + "VALUES ('another', 1, 1, 1, 'event', 'y', '{}', now())",
    "uq_credit_transfers_sender_key": TRANSFER + "VALUES (1, 'k', 2, 7, '', 'COMPLETED', NULL, 4, now())",
    "pk_tournament_rosters": "INSERT INTO tournament_rosters (tournament_id, participants, finalized_at, log_id, "
    "partition, \"offset\") VALUES (10, 8, now(), 'c/t', 0, 1)",
    "uq_dead_letters_coordinates": LETTER + "VALUES ('t', 'c/t', 0, 0, 'invalid_event', '', 'open')",
    "pk_partition_positions": "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, "
    "end_offset, epoch) VALUES ('g', 't', 0, 'other', 5, 5, 2)",
    "uq_rulesets_active": "INSERT INTO rulesets (hash, name, content, active, published_by) VALUES ('h', 'n', '', true, 'me')",
    "pk_reward_alerts": ALERT + "VALUES ('f', 'INV-R02', 'user 2', 'info', 'firing', '{}', '{}')",
    "pk_specialization_levels": "INSERT INTO specialization_levels VALUES ('PLAYER', 8, 'again', 1)",
    "pk_replay_runs": "INSERT INTO replay_runs (id, status, request, requested_by) VALUES ('r', 'planned', '{}', 'me')",
    "pk_api_tokens": "INSERT INTO api_tokens (prefix, secret_hash, name, role, created_by) "
    "VALUES ('p', 'y', 'm', 'admin', 'me')",
    "pk_sync_plans": "INSERT INTO sync_plans (id, source, reason, created_by) VALUES ('s', 'license', '', 'you')",
    "pk_sync_plan_items": SYNC + "VALUES ('s', 1, 'PLAYER', '{}', 3)",
    "pk_scheduled_runs": "INSERT INTO scheduled_runs (task, started_by) VALUES ('sync', 'you')",
    "pk_rulesets": "INSERT INTO rulesets (hash, name, content, published_by) SELECT hash, '', '', '' FROM rulesets",
    "users_pkey": "INSERT INTO users (id) VALUES (1)",
    "semesters_pkey": "INSERT INTO semesters (id, code, name) VALUES (10, '', '')",
    "sessions_pkey": "INSERT INTO sessions (id, title, held_at) VALUES (20, '', now())",
    "specializations_pkey": "INSERT INTO specializations VALUES ('PLAYER', '', 1)",
    "tournament_participations_pkey": "UPDATE tournament_participations SET id = 7; "
    "INSERT INTO tournament_participations (id, user_id, semester_id, achieved_at) VALUES (7, 2, 10, now())",
    "tournament_rankings_pkey": "UPDATE tournament_rankings SET id = 7; "
    "INSERT INTO tournament_rankings (id, tournament_id, user_id) VALUES (7, 10, 2)",
    "tournament_badges_pkey": "UPDATE tournament_badges SET id = 7; "
    "INSERT INTO tournament_badges (id, user_id, semester_id, badge_type, earned_at) VALUES (7, 1, 10, 'X', now())",
    "xp_transactions_pkey": "INSERT INTO xp_transactions (id, user_id, transaction_type, amount, idempotency_key) "
    "VALUES (901, 1, 'X', 1, 'x')",
    "credit_transactions_pkey": "INSERT INTO credit_transactions (id, user_id, transaction_type, amount, idempotency_key) "
    "VALUES (901, 1, 'X', 1, 'x')",
    "skill_rewards_pkey": "INSERT INTO skill_rewards (id, user_id, source_type, source_id, skill_name, points_awarded) "
    "VALUES (901, 1, 'SESSION', 1, 'x', 1)",
    "specialization_progress_pkey": "INSERT INTO specialization_progress (id, student_id, specialization_id) "
    "VALUES (901, 2, 'PLAYER')",
    "user_licenses_pkey": "INSERT INTO user_licenses (id, user_id, specialization_type) VALUES (901, 2, 'PLAYER')",
    "license_progressions_pkey": "INSERT INTO license_progressions (id, user_license_id, from_level, to_level) "
    "VALUES (901, 901, 2, 3)",
    "pk_dead_letters": 'INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail) '
    "SELECT id, 't', 'c/t', 0, 1, '', '' FROM dead_letters",
    "pk_outbox": "INSERT INTO outbox (id, lane, message_count, messages) VALUES (1, 0, 1, ''), (1, 0, 1, '')",
    "pk_ledger_seals": SEAL
    + "(1, 'a', 1, 2, 2, 'r', 'm', 'p', 'h', now()), (1, 'b', 1, 2, 2, 'r', 'm', 'p', 'h', now())",
    "uq_ledger_seals_range": SEAL
    + "(1, 'a', 1, 2, 2, 'r', 'm', 'p', 'h', now()), (2, 'a', 1, 2, 2, 'r', 'm', 'p', 'h', now())",
    "pk_erased_values": f"INSERT INTO erased_values VALUES {ERASED}, {ERASED}",
    "pk_audit_log": "INSERT INTO audit_log (id, actor, action, subject) VALUES (1, '', '', ''), (1, '', '', '')",
    "pk_alert_silences": "INSERT INTO alert_silences (id, reason, created_by, expires_at) "
    "VALUES (1, '', '', 'infinity'), (1, '', '', 'infinity')",
    "pk_migration_removed_rows": "INSERT INTO migration_removed_rows (id, revision, table_name, row_id, action, reason, row) "
    "VALUES (1000, '', '', 0, 'added', '', '{}'), (1000, '', '', 0, 'added', '', '{}')",
}

CHECKS = {
    "ck_sync_plans_source": "UPDATE sync_plans SET source = 'both'",
    "ck_sync_plan_items_outcome": "UPDATE sync_plan_items SET outcome = 'done', applied_at = now()",
    "ck_sync_plan_items_applied": "UPDATE sync_plan_items SET outcome = 'synced'",
    "ck_semesters_tournament_status": "UPDATE semesters SET tournament_status = 'OVER'",
    "ck_semesters_expected_participants": "UPDATE semesters SET expected_participants = -1",
    "ck_specializations_max_levels": "INSERT INTO specializations VALUES ('NONE', 'None', 0)",
    "ck_specialization_levels_level": "INSERT INTO specialization_levels VALUES ('PLAYER', 0, '', 0)",
    "ck_specialization_levels_xp_needed": "INSERT INTO specialization_levels VALUES ('PLAYER', 9, '', -1)",
    "ck_tournament_participations_status": "UPDATE tournament_participations SET status = 'open'",
    "ck_tournament_participations_revision": "UPDATE tournament_participations SET revision = 0",
    "ck_session_attendances_status": "UPDATE session_attendances SET status = 'final'",
    "ck_session_attendances_revision": "UPDATE session_attendances SET revision = 0",
    "ck_specialization_progress_level": "UPDATE specialization_progress SET current_level = 0",
    "ck_user_licenses_level": "UPDATE user_licenses SET current_level = 0",
    "ck_user_licenses_rated": "UPDATE user_licenses SET rated_at = now()",
    "ck_license_progressions_moves": "INSERT INTO license_progressions (user_license_id, from_level, to_level) "
    "VALUES (901, 2, 2)",
    "ck_reward_receipts_payload_hash": RECEIPT + "VALUES ('another', 9, 1, 1, 'event', NULL, '{}', now())",
    "ck_reward_receipts_revision": RECEIPT + "VALUES ('another', 9, 1, 0, 'event', 'y', '{}', now())",
    "ck_credit_transfers_two_users": TRANSFER + "VALUES (1, 'l', 1, 5, '', 'COMPLETED', NULL, 4, now())",
    "ck_credit_transfers_amount": TRANSFER + "VALUES (1, 'l', 2, 0, '', 'COMPLETED', NULL, 4, now())",
    "ck_credit_transfers_status": TRANSFER + "VALUES (1, 'l', 2, 5, '', 'REJECTED', NULL, 4, now())",
    "ck_dead_letters_status": LETTER + "VALUES ('t', 'c/t', 0, 1, 'undecodable', '', 'lost')",
    "ck_partition_positions_next_offset": "UPDATE partition_positions SET next_offset = -1",
    "ck_outbox_message_count": "INSERT INTO outbox (lane, message_count, messages) VALUES (0, 0, '[]')",
    "ck_reward_alerts_severity": ALERT + "VALUES ('g', 'INV-R01', 'user 1', 'bad', 'firing', '{}', '{}')",
    "ck_reward_alerts_status": ALERT + "VALUES ('g', 'INV-R01', 'user 1', 'info', 'open', '{}', '{}')",
    "ck_alert_silences_expires": "INSERT INTO alert_silences (reason, created_by, expires_at) VALUES ('', '', '2000-01-01')",
    "ck_migration_removed_rows_action": "INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, "
    "row) VALUES ('', '', 0, 'hidden', '', '{}')",
    "ck_ledger_seals_range": SEAL + "(1, 'a', 2, 1, 0, 'r', 'm', 'p', 'h', now())",
    "ck_replay_runs_status": "UPDATE replay_runs SET status = 'lost'",
    "ck_api_tokens_role": "UPDATE api_tokens SET role = 'root'",
}

LEVELS = {
    "ck_specialization_progress_level_maximum": "UPDATE specialization_progress SET current_level = 9 WHERE id = 901",
    "ck_specialization_progress_level_maximum INTERNSHIP": "UPDATE specialization_progress SET current_level = 4 "
    "WHERE id = 902",
    "ck_specialization_progress_level_maximum on insert": "INSERT INTO specialization_progress "
    "(student_id, specialization_id, current_level) VALUES (2, 'INTERNSHIP', 4)",
    "ck_specialization_progress_level_maximum elsewhere": "INSERT INTO specialization_progress (student_id, "
    "specialization_id, current_level) VALUES (2, 'COACH', 8); UPDATE specialization_progress "
    "SET specialization_id = 'INTERNSHIP' WHERE student_id = 2",
    "ck_specializations_max_levels_reached": "UPDATE specializations SET max_levels = 2 WHERE id = 'INTERNSHIP'",
}

REFERENCES = {
    "fk_sync_plan_items_plan_id": SYNC + "VALUES ('none', 1, 'PLAYER', '{}', 3)",
    "fk_sessions_semester_id": "UPDATE sessions SET semester_id = 99",
    "fk_specialization_levels_specialization_id": "INSERT INTO specialization_levels VALUES ('NONE', 1, '', 0)",
    "fk_tournament_rankings_tournament_id": "UPDATE tournament_rankings SET tournament_id = 99",
    "fk_tournament_rankings_user_id": "UPDATE tournament_rankings SET user_id = 99",
    "fk_specialization_progress_student_id": "UPDATE specialization_progress SET student_id = 99 WHERE id = 901",
    "fk_specialization_progress_specialization_id": "UPDATE specialization_progress SET specialization_id = 'NONE' "
    "WHERE id = 901",
    "fk_user_licenses_user_id": "UPDATE user_licenses SET user_id = 99",
    "fk_user_licenses_specialization_type": "UPDATE user_licenses SET specialization_type = 'NONE'",
    "fk_license_progressions_user_license_id": "INSERT INTO license_progressions (user_license_id, from_level, to_level) "
    "VALUES (99, 1, 2)",
    "fk_credit_transactions_user_license_id": "INSERT INTO credit_transactions (user_id, user_license_id, transaction_type, "
    "amount, idempotency_key) VALUES (1, 99, 'X', 1, 'x')",
    "fk_tournament_rosters_tournament_id": "UPDATE tournament_rosters SET tournament_id = 99",
    "fk_tournament_participations_user_id": RESULT + "VALUES (99, 10, 'PLAYER', 'final', 1, now())",
    "fk_tournament_participations_semester_id": RESULT + "VALUES (2, 99, 'PLAYER', 'final', 1, now())",
    "fk_tournament_participations_specialization_id": "UPDATE tournament_participations SET specialization_id = 'NONE'",
    "fk_session_attendances_user_id": "UPDATE session_attendances SET user_id = 99",
    "fk_session_attendances_session_id": PRESENCE + "VALUES (1, 99, 'PLAYER', 'late', 1, 0, 0, 0, now())",
    "fk_session_attendances_specialization_id": PRESENCE + "VALUES (2, 20, 'NONE', 'late', 1, 0, 0, 0, now())",
    "fk_tournament_badges_user_id": BADGE + "VALUES (99, 10, 'X', now())",
    "fk_tournament_badges_semester_id": "UPDATE tournament_badges SET semester_id = 99",
    "fk_xp_transactions_user_id": XP + "VALUES (99, 'X', 1, NULL, 'x', 'PLAYER')",
    "fk_xp_transactions_semester_id": XP + "VALUES (1, 'X', 1, 99, 'x', 'PLAYER')",
    "fk_xp_transactions_specialization_id": XP + "VALUES (1, 'X', 1, NULL, 'x', 'NONE')",
    "fk_credit_transactions_user_id": CREDITS + "VALUES (99, 'X', 1, NULL, 'x')",
    "fk_credit_transactions_semester_id": CREDITS + "VALUES (1, 'X', 1, 99, 'x')",
    "fk_skill_rewards_user_id": SKILL + "VALUES (99, 'SESSION', 1, 'x', 1)",
    "fk_credit_transfers_sender_id": TRANSFER + "VALUES (99, 'l', 2, 5, '', 'COMPLETED', NULL, 4, now())",
    "fk_credit_transfers_receiver_id": TRANSFER + "VALUES (1, 'l', 99, 5, '', 'COMPLETED', NULL, 4, now())",
}

REFERRED_TO = {
    "referred_to_users": "DELETE FROM users WHERE id = 2",
    "referred_to_users_id": "UPDATE users SET id = 3 WHERE id = 2",
    "referred_to_semesters": "DELETE FROM semesters",
    "referred_to_semesters_id": "UPDATE semesters SET id = 11",
    "referred_to_sessions": "DELETE FROM sessions",
    "referred_to_sessions_id": "UPDATE sessions SET id = 21",
    "referred_to_specializations": "TRUNCATE specializations CASCADE",
    "referred_to_specializations_id": "UPDATE specializations SET id = 'TRAINER' WHERE id = 'COACH'",
}

BREACHES = [
    *((name, statement, UNIQUE_VIOLATION) for name, statement in UNIQUE.items()),
    *((name, statement, CHECK_VIOLATION) for name, statement in (CHECKS | LEVELS).items()),
    *((name, statement, FOREIGN_KEY_VIOLATION) for name, statement in REFERENCES.items()),
    *((name, statement, RESTRICT_VIOLATION) for name, statement in REFERRED_TO.items()),
]


@pytest.mark.parametrize(("constraint", "statement", "sqlstate"), BREACHES, ids=[breach[0] for breach in BREACHES])
def test_plain_sql_cannot_break(world: Connection, constraint: str, statement: str, sqlstate: str) -> None:
    with world.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.execute(statement)
    assert refused.value.pgcode == sqlstate
    assert refused.value.diag.constraint_name == constraint.partition(" ")[0]


def test_every_constraint_is_tried() -> None:
    named = {
        constraint.name
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint | ForeignKeyConstraint | PrimaryKeyConstraint | UniqueConstraint)
    }
    named.discard(None)  # the primary key of a table that has none
    named |= {index.name for table in metadata.tables.values() for index in table.indexes if index.unique}
    named |= {
        f"fk_{table}_{column}" for table, columns in REFERENCES_CHECKED_BY_STATEMENT.items() for column in columns
    }
    assert named == set(UNIQUE) | set(CHECKS) | set(REFERENCES)


@pytest.mark.parametrize("table", ["xp_transactions", "credit_transactions"])
def test_no_entry_is_without_a_key(world: Connection, table: str) -> None:
    with world.cursor() as cursor, pytest.raises(psycopg2.errors.NotNullViolation, match="idempotency_key"):
        cursor.execute(f"INSERT INTO {table} (user_id, transaction_type, amount) VALUES (1, 'X', 1)")


def test_the_ledger_is_not_asked_for_references_it_has_just_made_sure_of(world: Connection) -> None:
    with world.cursor() as cursor:
        cursor.execute("SET LOCAL laurels.recording = 'on'")
        cursor.execute(CREDITS + "VALUES (99, 'X', 1, NULL, 'x')")
        assert cursor.rowcount == 1


def test_a_level_that_stays_is_not_checked_again(world: Connection) -> None:
    """A database that someone put above the maximum with the trigger disabled can still be worked on, and is found."""
    with world.cursor() as cursor:
        cursor.execute("ALTER TABLE specialization_progress DISABLE TRIGGER ck_specialization_progress_level_maximum")
        cursor.execute("UPDATE specialization_progress SET current_level = 5 WHERE id = 902")
        cursor.execute("ALTER TABLE specialization_progress ENABLE TRIGGER ck_specialization_progress_level_maximum")
        cursor.execute("UPDATE specialization_progress SET current_level = 5, total_xp = total_xp + 1 WHERE id = 902")
        cursor.execute("UPDATE specialization_progress SET current_level = 4 WHERE id = 902")
        assert cursor.rowcount == 1
