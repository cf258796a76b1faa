"""Throughput against millions of ledger rows: a ledger of other users' earlier events, loaded by SQL."""

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

import msgspec
import psycopg2
from psycopg2.extensions import cursor as Cursor

from bench.errors import BenchFailed
from bench.run import Run
from bench.watching import recorded_of, wait_until_held, watch
from bench.workers import GROUP, HELD, workers
from bench.workload import STRIDE, make_workload
from schemas.events import Skill
from schemas.rewards import RatedResult, RatingPoint, UserState
from schemas.ruleset import from_canonical_json
from sinks.database import Timeouts, connector
from streams.rules.ratings import rate
from streams.schedule import run_if_due
from streams.sealing import chain_task, sealing_task

PATIENT: Final = Timeouts(statement_ms=600_000)
RECENTLY: Final = 60.0

ROWS_PER_EVENT: Final = 4.5
EVENTS_PER_USER: Final = 12
CHUNK_EVENTS: Final = 50_000
STEP: Final = 7_919

# Half of the events are results (participation, XP, credits, two skills), half attendance (attendance, XP, credits, one
# skill). Users are the academy's but for every tenth, who is the workload's. In the order of time, each user's events
# lie far apart, as in life.
EVENTS: Final = """
CREATE TEMPORARY TABLE loaded ON COMMIT DELETE ROWS AS
SELECT number, event_user + (event_user - 1) / {others} AS user_id, nextval('reward_receipts_seq') AS seq,
       number % 2 = 0 AS is_result, 1 + number / 36 AS tournament, 1 + number / 28 AS session,
       timestamptz '2023-01-01' + number * interval '10 seconds' AS at
  FROM (SELECT number, 1 + (number / 2 * {step} + number % 2) % {users} AS event_user
          FROM generate_series({first}::bigint, {last}) AS number) AS events
"""

STATEMENTS: Final = (
    """
INSERT INTO reward_receipts (event_key, seq, user_id, revision, origin, payload_hash, ruleset, topic, log_id, partition,
    "offset", "grant", occurred_at)
SELECT CASE WHEN is_result THEN format('tournament_%s_result_%s', tournament, user_id)
            ELSE format('session_%s_presence_%s', session, user_id) END,
       seq, user_id, 1, 'event', sha256(number::text::bytea), (SELECT hash FROM rulesets WHERE active),
       CASE WHEN is_result THEN 'tournament-results' ELSE 'session-attendance' END, 'loaded/loaded', user_id % 4, number,
       CASE WHEN is_result THEN '{"xp": [["TOURNAMENT_REWARD", "PLAYER", 100]], "credits": [["TOURNAMENT_REWARD", 10]], "skills": [["passing", 3], ["vision", 3]]}'
            ELSE '{"xp": [["SESSION_ATTENDANCE", "PLAYER", 20]], "credits": [["SESSION_ATTENDANCE", 2]], "skills": [["passing", 1]], "counted": ["PLAYER", 1, 0, 1]}' END::jsonb,
       at
  FROM loaded ORDER BY number
""",
    """
INSERT INTO tournament_participations (user_id, semester_id, placement, participants, skills, xp_awarded, credits_awarded,
    achieved_at)
SELECT user_id, tournament, 4 + number % 5, 18, '[{"name": "passing", "performance": null}, {"name": "vision", "performance": null}]',
       100, 10, at
  FROM loaded WHERE is_result ORDER BY number
""",
    """
INSERT INTO session_attendances (user_id, session_id, specialization_id, status, revision, minutes, theory_hours,
    practice_hours, skills, occurred_at)
SELECT user_id, session, 'PLAYER', 'present', 1, 90, 0, 1, '[{"name": "passing", "performance": null}]', at
  FROM loaded WHERE NOT is_result ORDER BY number
""",
    """
INSERT INTO xp_transactions (user_id, transaction_type, amount, semester_id, idempotency_key, receipt_seq, created_at)
SELECT user_id, CASE WHEN is_result THEN 'TOURNAMENT_REWARD' ELSE 'SESSION_ATTENDANCE' END,
       CASE WHEN is_result THEN 100 ELSE 20 END, CASE WHEN is_result THEN tournament END,
       CASE WHEN is_result THEN format('tournament_%s_xp_%s', tournament, user_id)
            ELSE format('session_%s_xp_%s', session, user_id) END, seq, at
  FROM loaded ORDER BY number
""",
    """
INSERT INTO credit_transactions (user_id, transaction_type, amount, semester_id, idempotency_key, receipt_seq, created_at)
SELECT user_id, CASE WHEN is_result THEN 'TOURNAMENT_REWARD' ELSE 'SESSION_ATTENDANCE' END,
       CASE WHEN is_result THEN 10 ELSE 2 END, CASE WHEN is_result THEN tournament END,
       CASE WHEN is_result THEN format('tournament_%s_reward_%s', tournament, user_id)
            ELSE format('session_%s_attendance_%s', session, user_id) END, seq, at
  FROM loaded ORDER BY number
""",
    """
INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded, receipt_seq, created_at)
SELECT user_id, CASE WHEN is_result THEN 'TOURNAMENT' ELSE 'SESSION' END,
       CASE WHEN is_result THEN tournament ELSE session END, skill, CASE WHEN is_result THEN 3 ELSE 1 END, seq, at
  FROM loaded CROSS JOIN LATERAL unnest(CASE WHEN is_result THEN ARRAY['passing', 'vision'] ELSE ARRAY['passing'] END)
       AS skill ORDER BY number
""",
)

STATES: Final = (
    """
INSERT INTO users (id, xp_balance, credit_balance)
SELECT user_id, xp, credits
  FROM (SELECT user_id, sum(amount) AS xp FROM xp_transactions GROUP BY user_id) AS xp
  JOIN (SELECT user_id, sum(amount) AS credits FROM credit_transactions GROUP BY user_id) AS credits USING (user_id)
 ORDER BY user_id
""",
    """
INSERT INTO semesters (id, code, name)
SELECT id, 'T' || id, 'Tournament ' || id FROM (SELECT DISTINCT semester_id AS id FROM tournament_participations) AS t
""",
    """
INSERT INTO sessions (id, title, held_at)
SELECT session_id, 'Session ' || session_id, min(occurred_at) FROM session_attendances GROUP BY session_id
""",
    """
INSERT INTO specialization_progress (student_id, specialization_id, current_level, total_xp, completed_sessions,
    practice_hours_completed)
SELECT id, 'PLAYER', (SELECT max(level) FROM specialization_levels
                       WHERE specialization_id = 'PLAYER' AND xp_needed <= xp_balance),
       xp_balance, sessions, sessions
  FROM users
  JOIN (SELECT user_id AS id, count(*) AS sessions FROM session_attendances GROUP BY user_id) AS attended USING (id)
 ORDER BY id
""",
    """
INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level, football_skills)
SELECT student_id, 'PLAYER', current_level, current_level, football_skills
  FROM specialization_progress
  LEFT JOIN (SELECT user_id, array_agg(placement ORDER BY achieved_at, semester_id) AS placements
               FROM tournament_participations GROUP BY user_id) AS placed ON user_id = student_id
  LEFT JOIN ratings USING (placements)
 ORDER BY student_id
""",
)


PLACEMENTS: Final = """
SELECT DISTINCT array_agg(placement ORDER BY achieved_at, semester_id) FROM tournament_participations GROUP BY user_id
"""
RATINGS: Final = "CREATE TEMPORARY TABLE ratings (placements integer[] PRIMARY KEY, football_skills jsonb)"
SKILLS: Final = (Skill(name="passing"), Skill(name="vision"))
PARTICIPANTS: Final = 18


def measure_preload(run: Run) -> dict[str, object]:
    """The pipeline on an empty database, and on one with so many ledger rows of other users' earlier events."""
    if not run.preload_rows:
        raise BenchFailed("say how many ledger rows to load first: --preload 10m")
    with run.stand.database() as url:
        empty_cold, empty = _cold_and_warm(run, url)
    with run.stand.database() as url:
        preload(url, run.preload_rows)
        run.stand.checkpoint()
        cold, loaded = _cold_and_warm(run, url)
    return {
        "preload_events_per_s": loaded,
        "preload_ratio": loaded / empty,
        "preload_cold_events_per_s": cold,
        "preload_cold_ratio": cold / empty_cold,
    }


def _cold_and_warm(run: Run, url: str) -> tuple[float, float]:
    """Events a second of one worker over the first events, right after a checkpoint, and over as many more."""
    records = list(make_workload(2 * run.events))
    counts = Counter[tuple[str, int]]()
    speeds = []
    with run.stand.topics() as prefix, workers(run.stand, url, prefix) as working:
        wait_until_held(url, GROUP, HELD, working)
        for part in (records[: run.events], records[run.events :]):
            before = counts.total()
            with run.stand.held_back(prefix, part) as held:
                counts.update(held.topics.counts)
                released_at = held.release()
                progress = watch(url, recorded_of(GROUP, counts), counts.total(), working)
            speeds.append((progress.last - before) / (progress.last_at - released_at))
            # The end of a transaction takes an offset of its own.
            counts.update(held.topics.counts.keys())
    cold, warm = speeds
    return cold, warm


def preload(url: str, rows: int, events_per_user: float = EVENTS_PER_USER) -> None:
    """Load about so many ledger rows, with their receipts and the states of their users, in the order of time.

    Every invariant holds of them.
    """
    events = max(int(rows / ROWS_PER_EVENT), 1)
    # Odd and even numbers visit the users in steps of a prime, which must not divide their number.
    users = max(int(events / events_per_user), 1)
    users += users % STEP == 0
    with closing(psycopg2.connect(url, application_name="bench")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET laurels.recording = 'on'; SET synchronous_commit = 'off'; SET work_mem = '256MB'")
            connection.commit()
            for first in range(0, events, CHUNK_EVENTS):
                last = min(first + CHUNK_EVENTS, events) - 1
                cursor.execute("DROP TABLE IF EXISTS loaded")
                cursor.execute(EVENTS.format(others=STRIDE - 1, users=users, step=STEP, first=first, last=last))
                for statement in STATEMENTS:
                    cursor.execute(statement)
                connection.commit()
            _rate(cursor)
            for statement in STATES:
                cursor.execute(statement)
            connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    # A worker that finds so much that nobody has sealed or checked would do that while it is measured.
    connect = connector(url, name="bench", timeouts=PATIENT)
    for task in (sealing_task, chain_task):
        if not run_if_due(connect, task(connect, every_seconds=RECENTLY), owner="bench"):
            raise BenchFailed("somebody seals or checks the database that is loaded")


def _rate(cursor: Cursor) -> None:
    """Have the rules rate every sequence of placements that there is: SQL rounds otherwise."""
    cursor.execute("SELECT content FROM rulesets WHERE active")
    ((content,),) = cursor.fetchall()
    rule = from_canonical_json(content).content.rating
    cursor.execute(PLACEMENTS)
    rated = []
    for (placements,) in cursor.fetchall():
        state = UserState(0, {})
        state.results["PLAYER"] = {
            RatingPoint(datetime.min.replace(tzinfo=UTC), number): RatedResult(placement, PARTICIPANTS, SKILLS, rule)
            for number, placement in enumerate(placements)
        }
        skills = rate(state, {"PLAYER": {}})["PLAYER"].skills
        rated.append((placements, msgspec.json.encode(skills).decode()))
    cursor.execute(RATINGS)
    cursor.executemany("INSERT INTO ratings VALUES (%s, %s)", rated)
