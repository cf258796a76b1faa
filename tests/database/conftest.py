from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from tests.database.adopted import Adopted, adopt
from tests.services.databases import cloned, execute
from tests.services.run import Service

WORLD = """
INSERT INTO users (id) VALUES (1), (2);
INSERT INTO semesters (id, code, name) VALUES (10, 'T10', 'Tournament 10');
INSERT INTO sessions (id, title, held_at) VALUES (20, 'Session 20', now());
INSERT INTO tournament_participations (user_id, semester_id, achieved_at) VALUES (1, 10, now());
INSERT INTO tournament_rankings (tournament_id, user_id) VALUES (10, 1);
INSERT INTO session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours,
    practice_hours, occurred_at) VALUES (1, 20, 'PLAYER', 'present', 1, 0, 0, 0, now());
INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at) VALUES (1, 10, 'CHAMPION', now());
INSERT INTO xp_transactions (id, user_id, transaction_type, amount, semester_id, idempotency_key)
    VALUES (901, 1, 'TOURNAMENT_REWARD', 500, 10, 'tournament_10_xp_1');
INSERT INTO credit_transactions (id, user_id, transaction_type, amount, semester_id, idempotency_key, description)
    VALUES (901, 1, 'TOURNAMENT_REWARD', 100, 10, 'tournament_10_reward_1', 'for user 1');
INSERT INTO skill_rewards (id, user_id, source_type, source_id, skill_name, points_awarded)
    VALUES (901, 1, 'TOURNAMENT', 10, 'passing', 10);
INSERT INTO specialization_progress (id, student_id, specialization_id, total_xp, current_level)
    VALUES (901, 1, 'PLAYER', 500, 2), (902, 1, 'INTERNSHIP', 3000, 3);
INSERT INTO user_licenses (id, user_id, specialization_type, current_level, max_achieved_level)
    VALUES (901, 1, 'PLAYER', 2, 2);
INSERT INTO license_progressions (id, user_license_id, from_level, to_level) VALUES (901, 901, 1, 2);
INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, "grant", occurred_at)
    VALUES ('tournament_10_result_1', 1, 1, 1, 'event', 'x', '{}', now()),
           ('session_20_presence_1', 2, 1, 1, 'adopted', NULL, '{}', now());
INSERT INTO credit_transfers (sender_id, idempotency_key, receiver_id, amount, memo, status, receipt_seq, occurred_at)
    VALUES (1, 'k', 2, 5, '', 'COMPLETED', 3, now());
INSERT INTO tournament_rosters (tournament_id, participants, finalized_at, log_id, partition, "offset")
    VALUES (10, 8, now(), 'c/t', 0, 0);
INSERT INTO dead_letters (topic, log_id, partition, "offset", reason, detail) VALUES ('t', 'c/t', 0, 0, 'undecodable', '');
INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)
    VALUES ('g', 't', 0, 'c/t', 0, 0, 1);
INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)
    VALUES ('f', 'INV-R01', 'user 1', 'critical', 'firing', '{}', '{}');
INSERT INTO replay_runs (id, status, request, requested_by) VALUES ('r', 'planned', '{}', 'me');
INSERT INTO api_tokens (prefix, secret_hash, name, role, created_by) VALUES ('p', 'x', 'n', 'viewer', 'me');
INSERT INTO sync_plans (id, source, reason, created_by) VALUES ('s', 'progress', '', 'me');
INSERT INTO sync_plan_items (plan_id, user_id, specialization_id, kinds, new_level) VALUES ('s', 1, 'PLAYER', '{}', 2);
INSERT INTO scheduled_runs (task, started_by) VALUES ('sync', 'me');
DELETE FROM outbox;
"""
"""One of everything, with ids that no counter has reached."""


@pytest.fixture(scope="module")
def world_url(postgres: Service) -> Iterator[str]:
    """A database with one of everything, shared: whoever uses it rolls back."""
    with cloned(postgres, "template") as url:
        execute(url, WORLD)
        yield url


@pytest.fixture
def world(world_url: str) -> Iterator[Connection]:
    """A connection to it, rolled back afterwards."""
    connection = psycopg2.connect(world_url)
    yield connection
    connection.rollback()
    connection.close()


@pytest.fixture(scope="module")
def adopted(postgres: Service) -> Iterator[Adopted]:
    """The academy's own database, adopted; shared, so only to be read."""
    with cloned(postgres, "legacy") as url:
        yield adopt(url)


@pytest.fixture
def just_adopted(legacy_url: str) -> Adopted:
    """The academy's own database, adopted for one test alone."""
    return adopt(legacy_url)
