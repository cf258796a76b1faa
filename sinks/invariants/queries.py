"""The queries. Each is one statement, so that it sees one moment, and finds nothing where its invariant holds.

`IN_SCOPE(column)` stands for the users that are asked about. A query answers with user, what was expected, what was found
and the event key of what broke it, if it knows one. A user may come several times: what is found makes one alert.
"""

from typing import Final

BALANCE = """
SELECT u.id, (u.{opening} + coalesce(entries.total, 0))::text, u.{balance}::text, NULL
  FROM users u
  LEFT JOIN (SELECT user_id, sum(amount) AS total FROM {ledger} e WHERE IN_SCOPE(e.user_id) GROUP BY user_id) AS entries
    ON entries.user_id = u.id
 WHERE IN_SCOPE(u.id) AND u.{balance} <> u.{opening} + coalesce(entries.total, 0)
"""

XP_BALANCE: Final = BALANCE.format(opening="opening_xp", balance="xp_balance", ledger="xp_transactions")
CREDIT_BALANCE: Final = BALANCE.format(
    opening="opening_credits", balance="credit_balance", ledger="credit_transactions"
)

# What a receiver got stands on the sender's receipt. What comes without a receipt is ours where its key or its source
# says so: an adopted row has a receipt if it says its source, and a fallback key begins otherwise.
RECEIPTS: Final = r"""
WITH receipts AS (
    SELECT user_id, seq, event_key, "grant" FROM reward_receipts r WHERE IN_SCOPE(r.user_id)
), given AS (
    SELECT user_id, seq, 'xp ' || (g ->> 0) || ' in ' || (g ->> 1) AS what, (g ->> 2)::bigint AS amount
      FROM receipts, jsonb_array_elements("grant" -> 'xp') AS g
    UNION ALL
    SELECT user_id, seq, 'credits ' || (g ->> 0), (g ->> 1)::bigint
      FROM receipts, jsonb_array_elements("grant" -> 'credits') AS g
     WHERE coalesce((g ->> 2)::bigint, user_id) = user_id
    UNION ALL
    SELECT t.receiver_id, r.seq, 'credits ' || (g ->> 0), (g ->> 1)::bigint
      FROM credit_transfers t
      JOIN reward_receipts r ON r.user_id = t.sender_id AND r.seq = t.receipt_seq,
           jsonb_array_elements(r."grant" -> 'credits') AS g
     WHERE IN_SCOPE(t.receiver_id) AND (g ->> 2)::bigint = t.receiver_id
    UNION ALL
    SELECT user_id, seq, 'skill ' || (g ->> 0), (g ->> 1)::bigint
      FROM receipts, jsonb_array_elements("grant" -> 'skills') AS g
    UNION ALL
    SELECT user_id, seq, 'level in ' || (g ->> 0) || ' from ' || (g ->> 1) || ' to ' || (g ->> 2), 1
      FROM receipts, jsonb_array_elements("grant" -> 'levels') AS g
), entries AS (
    SELECT user_id, receipt_seq AS seq, 'xp ' || transaction_type || ' in ' || specialization_id AS what, amount
      FROM xp_transactions e
     WHERE IN_SCOPE(e.user_id)
       AND (receipt_seq IS NOT NULL OR idempotency_key ~ '^(tournament|session)_[0-9]+_|^command_.*_xp_[0-9]+$')
    UNION ALL
    SELECT user_id, receipt_seq, 'credits ' || transaction_type, amount
      FROM credit_transactions e
     WHERE IN_SCOPE(e.user_id)
       AND (receipt_seq IS NOT NULL
            OR idempotency_key ~ '^(tournament|session)_[0-9]+_|^transfer_.*_(debit|credit)_[0-9]+$')
    UNION ALL
    SELECT user_id, receipt_seq, 'skill ' || skill_name, points_awarded
      FROM skill_rewards e
     WHERE IN_SCOPE(e.user_id) AND (receipt_seq IS NOT NULL OR source_type ~ '^(TOURNAMENT|SESSION)')
    UNION ALL
    SELECT l.user_id, p.receipt_seq,
           'level in ' || l.specialization_type || ' from ' || p.from_level || ' to ' || p.to_level, 1
      FROM user_licenses l JOIN license_progressions p ON p.user_license_id = l.id
     WHERE IN_SCOPE(l.user_id) AND p.receipt_seq IS NOT NULL
), counted AS (
    SELECT user_id, seq, what, amount, sum(given) AS given, sum(entered) AS entered
      FROM (SELECT *, 1 AS given, 0 AS entered FROM given UNION ALL SELECT *, 0, 1 FROM entries) AS both_sides
     GROUP BY user_id, seq, what, amount
    HAVING sum(given) <> sum(entered))
SELECT c.user_id,
       c.given || ' of ' || what || CASE WHEN what LIKE 'level %%' THEN '' ELSE ' ' || amount END
           || coalesce(' by ' || r.event_key, CASE WHEN given > 0 THEN ' by its sender' ELSE ' without any receipt' END),
       c.entered::text, r.event_key
  FROM counted c LEFT JOIN reward_receipts r ON r.user_id = c.user_id AND r.seq = c.seq
 ORDER BY c.user_id, c.seq NULLS LAST, what, c.given DESC
"""

# The receipt that spoke of a badge last says whether it is worn.
BADGES: Final = """
WITH spoken AS (
    SELECT user_id, substring(coalesce(corrects, event_key) FROM '^tournament_([0-9]+)_result_')::bigint AS semester_id,
           seq, "grant"
      FROM reward_receipts r
     WHERE IN_SCOPE(r.user_id) AND "grant" ?| ARRAY['badge', 'badges', 'revoked']
), said AS (
    SELECT DISTINCT ON (user_id, semester_id, badge_type) user_id, semester_id, badge_type, worn
      FROM (SELECT user_id, semester_id, seq, "grant" ->> 'badge' AS badge_type, true AS worn
              FROM spoken WHERE "grant" ? 'badge'
            UNION ALL
            SELECT user_id, semester_id, seq, badge, true
              FROM spoken, jsonb_array_elements_text("grant" -> 'badges') AS badge
            UNION ALL
            SELECT user_id, semester_id, seq, badge, false
              FROM spoken, jsonb_array_elements_text("grant" -> 'revoked') AS badge) AS changes
     ORDER BY user_id, semester_id, badge_type, seq DESC
), worn AS (
    SELECT user_id, semester_id, badge_type FROM tournament_badges b WHERE IN_SCOPE(b.user_id) AND revoked_at IS NULL
)
SELECT user_id, 'tournament ' || semester_id || coalesce(': ' || expected, ': no badge'), coalesce(badge, 'no badge'), NULL
  FROM (SELECT user_id, semester_id, said.badge_type AS expected, worn.badge_type AS badge
          FROM (SELECT * FROM said WHERE worn) AS said FULL JOIN worn USING (user_id, semester_id, badge_type)
         WHERE said.badge_type IS DISTINCT FROM worn.badge_type
        UNION ALL
        SELECT user_id, semester_id, 'a final participation', badge_type
          FROM worn
         WHERE NOT EXISTS (SELECT FROM tournament_participations p
                            WHERE p.user_id = worn.user_id AND p.semester_id = worn.semester_id
                              AND p.status = 'final')) AS apart
 ORDER BY user_id, semester_id
"""

# Each side has to find its own leg, so that whoever repairs one is the user whose alert resolves.
TRANSFERS: Final = """
WITH legs AS (
    SELECT sender_id AS user_id, receipt_seq AS seq, -amount AS amount,
           'transfer_' || sender_id || '-' || idempotency_key || '_transfer_' || sender_id AS event_key
      FROM credit_transfers t WHERE IN_SCOPE(t.sender_id) AND status = 'COMPLETED'
    UNION ALL
    SELECT receiver_id, receipt_seq, amount,
           'transfer_' || sender_id || '-' || idempotency_key || '_transfer_' || sender_id
      FROM credit_transfers t WHERE IN_SCOPE(t.receiver_id) AND status = 'COMPLETED'
), entries AS (
    SELECT user_id, receipt_seq AS seq, sum(amount) AS amount
      FROM credit_transactions e
     WHERE IN_SCOPE(e.user_id) AND transaction_type IN ('TRANSFER_OUT', 'TRANSFER_IN')
     GROUP BY user_id, receipt_seq)
SELECT user_id, coalesce('a leg of ' || legs.amount || ' in ' || event_key,
                         'no leg: there is no such transfer'),
       coalesce(entries.amount::text, 'none'), event_key
  FROM legs FULL JOIN entries USING (user_id, seq)
 WHERE legs.amount IS DISTINCT FROM entries.amount
 ORDER BY user_id, seq
"""

# Adopted entries were recorded when they were created; what we record happened before we write it.
PROGRESS: Final = """
WITH earned AS (
    SELECT user_id, specialization_id, sum(amount) AS xp, bool_or(recorded_at <> created_at) AS ours
      FROM xp_transactions x WHERE IN_SCOPE(x.user_id) GROUP BY user_id, specialization_id
), compared AS (
    SELECT coalesce(p.student_id, e.user_id) AS user_id, coalesce(p.specialization_id, e.specialization_id) AS specialization,
           coalesce(p.opening_xp, 0) + coalesce(e.xp, 0) AS earned, p.total_xp, p.current_level, p.level_adjustment,
           e.ours, p.id IS NOT NULL AS has_progress
      FROM (SELECT * FROM specialization_progress p WHERE IN_SCOPE(p.student_id)) AS p
      FULL JOIN earned e ON e.user_id = p.student_id AND e.specialization_id = p.specialization_id
), levelled AS (
    SELECT c.*, least(greatest(coalesce(
                   (SELECT max(n.level) FROM specialization_levels n
                     WHERE n.specialization_id = c.specialization AND n.level <= s.max_levels
                       AND n.xp_needed <= c.total_xp), 1) + level_adjustment, 1), s.max_levels) AS level
      FROM compared c JOIN specializations s ON s.id = c.specialization)
SELECT user_id, specialization || ': ' || earned || ' XP' || coalesce(', level ' || level, ''),
       CASE WHEN has_progress THEN total_xp || ' XP, level ' || current_level ELSE 'no progress' END, NULL
  FROM levelled
 WHERE CASE WHEN has_progress THEN total_xp <> earned OR current_level <> level ELSE ours AND earned <> 0 END
 ORDER BY user_id, specialization
"""

DEBTS: Final = """
SELECT id, 'a credit balance of at least 0', credit_balance::text, NULL
  FROM users u WHERE IN_SCOPE(u.id) AND credit_balance < 0
"""

_PAIRS = """
SELECT user_id, {expected}, {found}, NULL
  FROM (SELECT coalesce(p.student_id, l.user_id) AS user_id, s.id AS specialization, p.current_level AS progress,
               l.current_level AS license, l.max_achieved_level AS highest, s.max_levels AS most
          FROM (SELECT * FROM specialization_progress p WHERE IN_SCOPE(p.student_id)) AS p
          FULL JOIN (SELECT * FROM user_licenses l WHERE IN_SCOPE(l.user_id)) AS l
            ON l.user_id = p.student_id AND l.specialization_type = p.specialization_id
          JOIN specializations s ON s.id = coalesce(p.specialization_id, l.specialization_type)) AS pair
 WHERE {where}
 ORDER BY user_id, specialization
"""

LEVELS_AGREE: Final = _PAIRS.format(
    expected="specialization || ': one level'",
    found="'progress at ' || progress || ', license at ' || license",
    where="progress <> license",
)
LICENSE_EXISTS: Final = _PAIRS.format(
    expected="specialization || ': a license'",
    found="'progress at ' || progress || ' alone'",
    where="license IS NULL",
)
PROGRESS_EXISTS: Final = _PAIRS.format(
    expected="specialization || ': progress'",
    found="'a license at ' || license || ' alone'",
    where="progress IS NULL",
)
LEVEL_MAXIMUM: Final = _PAIRS.format(
    expected="specialization || ': at most level ' || most",
    found="greatest(progress, license)::text",
    where="greatest(progress, license) > most",
)
HIGHEST_LEVEL: Final = _PAIRS.format(
    expected="specialization || ': a highest level of at least ' || license",
    found="highest::text",
    where="highest < license",
)

# What the log gave must lie behind the position of the log it came from.
POSITIONS: Final = """
SELECT NULL::bigint, 'a position after offset ' || max(r."offset"), max(p.next_offset)::text, NULL,
       r.topic || '/' || r.partition
  FROM reward_receipts r
  JOIN (SELECT topic, partition, log_id, max(next_offset) AS next_offset
          FROM partition_positions GROUP BY topic, partition, log_id) AS p
    ON p.topic = r.topic AND p.partition = r.partition AND p.log_id = r.log_id
 WHERE IN_SCOPE(r.user_id) AND r.origin = 'event' AND r."offset" >= p.next_offset
 GROUP BY r.topic, r.partition
 ORDER BY r.topic, r.partition
"""
