"""What breaks each invariant by plain SQL, as somebody with the owner's rights would, and what mends it again.

All of it reaches reconciliation by the touch. What only a sweep, the topics or time can tell has no plant here: results
that are missing after the grace period, a receipt ahead of its position, rows that were changed with triggers switched off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Subject = tuple[str, str]
"""A kind of alert, and what such an alert is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Users with progress and a license in PLAYER and in nothing else, and a number that nothing has yet."""

    user: int
    other: int
    number: int

    def parameters(self) -> dict[str, int]:
        """For the statements."""
        return {"user": self.user, "other": self.other, "number": self.number}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """`prepared` breaks nothing yet, and must have been looked at before `broken`; `also` is what else that breaks."""

    broken: str
    mended: str
    prepared: str | None = None
    subject: str = "user {user}"
    also: Mapping[str, str] = field(default_factory=dict)

    def due(self, kind: str, where: Where) -> list[Subject]:
        """Every alert that is due once it is planted, the one of its own `kind` first."""
        subjects = [(kind, self.subject), *self.also.items()]
        return [(of_kind, subject.format_map(where.parameters())) for of_kind, subject in subjects]


PLANTS: Final[Mapping[str, Plant]] = {
    "INV-R01": Plant(
        broken="UPDATE users SET xp_balance = xp_balance + 7 WHERE id = %(user)s",
        mended="UPDATE users SET xp_balance = xp_balance - 7 WHERE id = %(user)s",
    ),
    "INV-R02": Plant(
        broken="UPDATE users SET credit_balance = credit_balance + 7 WHERE id = %(user)s",
        mended="UPDATE users SET credit_balance = credit_balance - 7 WHERE id = %(user)s",
    ),
    "INV-R03": Plant(
        broken="""
            INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded)
            VALUES (%(user)s, 'TOURNAMENT', %(number)s, 'passing', 3)""",
        mended="""
            ALTER TABLE skill_rewards DISABLE TRIGGER append_only_skill_rewards;
            DELETE FROM skill_rewards WHERE user_id = %(user)s AND source_id = %(number)s;
            ALTER TABLE skill_rewards ENABLE ALWAYS TRIGGER append_only_skill_rewards""",
    ),
    "INV-R04": Plant(
        subject="tournament {number}",
        broken="""
            INSERT INTO semesters (id, code, name) VALUES (%(number)s, 'planted-%(number)s', 'planted');
            INSERT INTO tournament_rosters (tournament_id, participants, user_ids, finalized_at, log_id, partition, "offset")
            VALUES (%(number)s, 1, ARRAY[%(other)s], now(), 'planted', 0, %(number)s);
            INSERT INTO tournament_participations (user_id, semester_id, achieved_at)
            VALUES (%(user)s, %(number)s, now())""",
        mended="DELETE FROM tournament_participations WHERE user_id = %(user)s AND semester_id = %(number)s",
    ),
    "INV-R05": Plant(
        broken="""
            INSERT INTO semesters (id, code, name) VALUES (%(number)s, 'planted-%(number)s', 'planted');
            INSERT INTO tournament_badges (user_id, semester_id, badge_type, earned_at)
            VALUES (%(user)s, %(number)s, 'CHAMPION', now())""",
        mended="UPDATE tournament_badges SET revoked_at = now() WHERE user_id = %(user)s AND semester_id = %(number)s",
    ),
    "INV-R06": Plant(
        broken="""
            UPDATE user_licenses SET adopted_skills = '{"passing": {"rating": 1, "results": 1}}'
             WHERE user_id = %(user)s""",
        mended="UPDATE user_licenses SET adopted_skills = NULL WHERE user_id = %(user)s",
    ),
    "INV-R07": Plant(
        broken="""
            INSERT INTO credit_transfers (sender_id, receiver_id, idempotency_key, amount, memo, status, receipt_seq, occurred_at)
            VALUES (%(user)s, %(other)s, 'planted', 31, '', 'COMPLETED', -%(number)s, now())""",
        mended="DELETE FROM credit_transfers WHERE sender_id = %(user)s AND idempotency_key = 'planted'",
        also={"INV-R07": "user {other}"},
    ),
    "INV-R08": Plant(
        broken="UPDATE specialization_progress SET total_xp = total_xp + 1 WHERE student_id = %(user)s",
        mended="UPDATE specialization_progress SET total_xp = total_xp - 1 WHERE student_id = %(user)s",
    ),
    "INV-R09": Plant(
        subject="level-commands/{number} of planted",
        prepared="""
            INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch)
            VALUES ('planted', 'level-commands', %(number)s, 'c/t', 5, 0, 1)""",
        broken="UPDATE partition_positions SET next_offset = 4 WHERE consumer_group = 'planted' AND partition = %(number)s",
        mended="UPDATE partition_positions SET next_offset = 6 WHERE consumer_group = 'planted' AND partition = %(number)s",
    ),
    "SYNC-01": Plant(
        broken="""
            UPDATE user_licenses SET current_level = 1 + current_level %% 8, max_achieved_level = 8
             WHERE user_id = %(user)s""",
        mended="""
            UPDATE user_licenses SET current_level = p.current_level FROM specialization_progress p
             WHERE user_id = %(user)s AND p.student_id = %(user)s""",
    ),
    "SYNC-02": Plant(
        broken="""
            INSERT INTO specialization_progress (student_id, specialization_id) VALUES (%(user)s, 'INTERNSHIP')""",
        mended="""
            DELETE FROM specialization_progress WHERE student_id = %(user)s AND specialization_id = 'INTERNSHIP'""",
    ),
    "SYNC-03": Plant(
        broken="INSERT INTO user_licenses (user_id, specialization_type) VALUES (%(user)s, 'INTERNSHIP')",
        mended="DELETE FROM user_licenses WHERE user_id = %(user)s AND specialization_type = 'INTERNSHIP'",
    ),
    "SYNC-04": Plant(
        broken="UPDATE user_licenses SET current_level = 9, max_achieved_level = 9 WHERE user_id = %(user)s",
        mended="""
            UPDATE user_licenses SET current_level = p.current_level FROM specialization_progress p
             WHERE user_id = %(user)s AND p.student_id = %(user)s""",
        also={"SYNC-01": "user {user}"},
    ),
    "SYNC-05": Plant(
        broken="UPDATE user_licenses SET max_achieved_level = 0 WHERE user_id = %(user)s",
        mended="UPDATE user_licenses SET max_achieved_level = current_level WHERE user_id = %(user)s",
    ),
    "OPS-06": Plant(
        broken="UPDATE users SET credit_balance = credit_balance - 1000000 WHERE id = %(user)s",
        mended="UPDATE users SET credit_balance = credit_balance + 1000000 WHERE id = %(user)s",
        also={"INV-R02": "user {user}"},
    ),
}
"""By the kind of alert that each makes due."""
