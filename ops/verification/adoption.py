"""Where the users of an adopted database started: what Postgres holds now, less all that came since."""

from dataclasses import dataclass, field

from ops.oracle import Oracle
from ops.oracle.ratings import Ratings
from ops.oracle.state import Standing
from ops.verification.snapshot import Snapshot

USERS = """
SELECT users.id,
       xp_balance - coalesce((SELECT sum(amount) FROM xp_transactions e WHERE e.user_id = users.id AND {ours}), 0)::bigint,
       credit_balance
           - coalesce((SELECT sum(amount) FROM credit_transactions e WHERE e.user_id = users.id AND {ours}), 0)::bigint
FROM users WHERE users.created_at <= %s AND {share}
"""
PROGRESS = """
WITH counted AS (
    SELECT user_id, counted ->> 0 AS specialization_id, sum((counted ->> 1)::bigint) AS sessions,
           sum((counted ->> 2)::bigint) AS theory, sum((counted ->> 3)::bigint) AS practice
    FROM (SELECT DISTINCT ON (coalesce(corrects, event_key)) user_id, "grant" -> 'counted' AS counted
          FROM reward_receipts WHERE origin <> 'adopted' ORDER BY coalesce(corrects, event_key), seq DESC) AS latest
    WHERE counted IS NOT NULL GROUP BY 1, 2
)
SELECT p.student_id, p.specialization_id, p.current_level, p.level_adjustment,
       p.total_xp - coalesce((SELECT sum(amount) FROM xp_transactions e
                              WHERE e.user_id = p.student_id AND e.specialization_id = p.specialization_id AND {ours}), 0)::bigint,
       p.completed_sessions - coalesce(counted.sessions, 0)::bigint,
       p.theory_hours_completed - coalesce(counted.theory, 0)::bigint,
       p.practice_hours_completed - coalesce(counted.practice, 0)::bigint
FROM specialization_progress AS p
LEFT JOIN counted ON counted.user_id = p.student_id AND counted.specialization_id = p.specialization_id
WHERE p.created_at <= %s AND {share}
"""
LICENSES = """
SELECT l.user_id, l.specialization_type, l.max_achieved_level, l.adopted_skills,
       coalesce((SELECT from_level FROM license_progressions AS e
                 WHERE e.user_license_id = l.id AND e.receipt_seq IS NOT NULL ORDER BY e.receipt_seq LIMIT 1),
                l.current_level)
FROM user_licenses AS l WHERE l.started_at <= %s AND {share}
"""


@dataclass(slots=True)
class Adoption:
    """What was there before the first event, and what the first pass found that commands have moved since."""

    users: set[int] = field(default_factory=set)
    skills: dict[int, dict[str, Ratings]] = field(default_factory=dict)
    commanded: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    """By user and specialization: sessions, theory and practice hours that commands moved."""

    def seed(self, oracle: Oracle, snapshot: Snapshot) -> None:
        """Let the oracle start from there."""
        if snapshot.adopted_at is None:
            return
        ours, of, at = snapshot.ours(), snapshot.share.sql, (snapshot.adopted_at,)
        for user_id, xp, credits in snapshot.stream(USERS.format(ours=ours, share=of("users.id")), at):
            user = oracle.user(user_id)
            user.xp, user.credits = xp, credits
            self.users.add(user_id)
        progress = PROGRESS.format(ours=ours, share=of("p.student_id"))
        for user_id, specialization, level, adjustment, xp, *totals in snapshot.stream(progress, at):
            standing = oracle.user(user_id).standings.setdefault(specialization, Standing())
            moved = self.commanded.get((user_id, specialization), [0, 0, 0])
            standing.xp = xp
            standing.sessions, standing.theory, standing.practice = (
                total - change for total, change in zip(totals, moved, strict=True)
            )
            standing.milestones = max(0, standing.sessions // oracle.rules[oracle.active].bonus_every)
            standing.adjustment, standing.level = adjustment, level
            oracle.watched[user_id, specialization] = [0, 0, 0]
            oracle.unsettled.add((user_id, specialization))
        for user_id, specialization, highest, skills, level in snapshot.stream(
            LICENSES.format(share=of("l.user_id")), at
        ):
            standing = oracle.user(user_id).standings.setdefault(specialization, Standing())
            standing.license, standing.highest = level, highest
            if skills:
                self.skills.setdefault(user_id, {})[specialization] = {
                    name: (rated["rating"], rated["results"]) for name, rated in skills.items()
                }
        for user_id, specialization in oracle.unsettled:
            standing = oracle.user(user_id).standings[specialization]
            if standing.license is None:
                # The first event made a license at the level that stood then, which may have moved since.
                standing.level = oracle.level(specialization, standing)

    def learn(self, oracle: Oracle) -> bool:
        """Take over what commands moved; whether that changes where anyone started."""
        moved = {where: changes for where, changes in oracle.watched.items() if any(changes)}
        changed = moved != self.commanded
        self.commanded = moved
        return changed
