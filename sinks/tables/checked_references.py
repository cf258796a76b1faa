"""What stands in the place of foreign keys.

What the ledger writes thousands of times a second carries none: each costs 4 to 5 us per row, which came to more than half
of the whole write.
"""

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
