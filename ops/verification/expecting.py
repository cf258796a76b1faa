"""What each row of the state tables must hold, by what the oracle remembers once the log is folded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from ops.oracle import Oracle, ratings
from ops.oracle.ratings import Ratings
from ops.oracle.state import Source, Standing, User
from ops.verification.adoption import Adoption
from ops.verification.report import Report
from ops.verification.table import Account, Expected, Rostered, Row, Table, table_of

AS_GIVEN: Final = object()
"""In place of the values expected: nobody can tell, so the row is taken as it is."""

NO_ROW: Final[Expected] = (None, None)
GIVEN: Final[Expected] = (AS_GIVEN, None)


class Expectations:
    """What the oracle expects. Participations and attendances are asked first: they say what given sources were.

    `logs` are those that were read, by id and partition, and where they start.
    """

    def __init__(self, oracle: Oracle, adoption: Adoption, report: Report, logs: Mapping[tuple[str, int], int]) -> None:
        self._oracle = oracle
        self._adoption = adoption
        self._report = report
        self._logs = logs
        self._rated: tuple[int, dict[str, Ratings]] = (0, {})

    def of_users(self) -> Iterator[Table[Account]]:
        """The tables whose rows are users', in the order to compare them in."""
        yield self._participations()
        yield self._attendances()
        yield _users()
        yield _progresses()
        yield self._licenses()
        yield _badges()
        yield _transfers()

    def of_tournaments(self) -> Table[Rostered]:
        """The table whose rows are tournaments'."""
        return table_of(
            "tournament_rosters",
            'tournament_id participants user_ids finalized_at log_id partition "offset"',
            1,
            "tournament {}",
            self._roster,
            lambda rostered: [rostered[:1]] if rostered[1] else [],
            of_users=False,
        )

    def _participations(self) -> Table[Account]:
        return table_of(
            "tournament_participations",
            "user_id semester_id placement participants skills specialization_id status revision achieved_at "
            "xp_awarded credits_awarded",
            2,
            "user {}, tournament {}",
            self._participation,
            lambda account: [(account.user_id, source) for source in account.tournaments],
        )

    def _participation(self, account: Account, row: Row) -> Expected:
        source = account.tournaments.get(row[1])
        if source is None:
            return NO_ROW
        if source.row is None:
            if row[2:] and not source.adopted:
                _enter(account.user, row[5])
            _learn(source, row)
            return GIVEN
        _, placement, participants, specialization, skills, at = source.row
        status = "withdrawn" if source.withdrawn else "final"
        values = (placement, participants, _listed(skills), specialization, status, source.revision, at)
        return (*values, source.given.xp, source.given.credits), source.seq

    def _attendances(self) -> Table[Account]:
        return table_of(
            "session_attendances",
            "user_id session_id specialization_id status revision minutes theory_hours practice_hours skills occurred_at",
            2,
            "user {}, session {}",
            self._attendance,
            lambda account: [(account.user_id, source) for source in account.sessions],
        )

    @staticmethod
    def _attendance(account: Account, row: Row) -> Expected:
        source = account.sessions.get(row[1])
        if source is None:
            return NO_ROW
        if source.row is None:
            if row[2:] and not source.adopted:
                _enter(account.user, row[2])
            return GIVEN
        status, specialization, minutes, theory, practice, skills, at = source.row
        status = "withdrawn" if source.withdrawn else status
        values = (specialization, status, source.revision, minutes, theory, practice, _listed(skills), at)
        return values, source.seq

    def _licenses(self) -> Table[Account]:
        return table_of(
            "user_licenses",
            "user_id specialization_type current_level max_achieved_level football_skills",
            2,
            "user {}, {}",
            self._license,
            lambda account: [(account.user_id, name) for name, s in _standings(account) if s.license],
        )

    def _license(self, account: Account, row: Row) -> Expected:
        user_id, specialization = row[:2]
        user = account.user
        standing = user.standings.get(specialization) if user else None
        if user is None or standing is None or standing.license is None:
            return GIVEN if user and user.loose else NO_ROW
        if self._rated[0] != user_id:
            adopted = self._adoption.skills.get(user_id)
            rated = ratings(account.tournaments, self._oracle.rules, self._oracle.active, adopted)
            self._rated = (user_id, rated)
        skills = {
            name: {"rating": rating, "results": results}
            for name, (rating, results) in self._rated[1].get(specialization, {}).items()
        }
        # No rating at all is null, or as an academy had it that was adopted.
        found = row[4] if row[2:] else None
        if not skills and not found:
            return (standing.license, standing.highest, found), None
        return (standing.license, standing.highest, skills), None

    def _roster(self, rostered: Rostered, row: Row) -> Expected:
        _, roster = rostered
        if row[1:] and row[6] < self._logs.get((row[4], row[5]), row[6] + 1):
            self._report.unverifiable += 1
            return GIVEN
        if roster is None:
            return NO_ROW
        users = None if roster.user_ids is None else list(roster.user_ids)
        log_id = next((log for log, partition in self._logs if partition == roster.partition), "")
        if row[1:]:
            log_id = row[4]
        return (roster.participants, users, roster.finalized_us, log_id, roster.partition, roster.offset), None


def _standings(account: Account) -> Collection[tuple[str, Standing]]:
    return account.user.standings.items() if account.user else ()


def _listed(skills: Sequence[tuple[str, float | None]]) -> list[dict[str, Any]]:
    return [{"name": name, "performance": performance} for name, performance in skills]


def _enter(user: User | None, specialization: str) -> None:
    """A source that gave nothing leaves no trace in its grant, but it created the progress and the license."""
    assert user is not None
    standing = user.standings.setdefault(specialization, Standing())
    level = standing.level or standing.license or 1
    standing.level, standing.license = standing.level or level, standing.license or level


def _learn(source: Source, row: Row) -> None:
    """Take a result that no log speaks of as its row has it: it counts for ratings."""
    if row[2:] and row[7] == source.revision and not source.adopted:
        skills = tuple((skill["name"], skill.get("performance")) for skill in row[4])
        source.row = (row[6], row[2], row[3], row[5], skills, row[8])
        source.withdrawn = row[6] == "withdrawn"


def _users() -> Table[Account]:
    return table_of(
        "users",
        "id xp_balance credit_balance",
        1,
        "user {}",
        _user,
        lambda account: [(account.user_id,)] if account.user else [],
    )


def _user(account: Account, row: Row) -> Expected:
    user = account.user
    if user is None:
        # Registered by the academy: no event speaks of them yet.
        return row[1:] if row[1:] == (0, 0) else None, None
    return (user.xp, user.credits), None


def _progresses() -> Table[Account]:
    return table_of(
        "specialization_progress",
        "student_id specialization_id current_level total_xp completed_sessions theory_hours_completed "
        "practice_hours_completed level_adjustment milestones_paid",
        2,
        "user {}, {}",
        _progress,
        lambda account: [(account.user_id, name) for name, s in _standings(account) if s.level],
    )


def _progress(account: Account, row: Row) -> Expected:
    user = account.user
    standing = user.standings.get(row[1]) if user else None
    if user is None or standing is None or standing.level is None:
        return GIVEN if user and user.loose else NO_ROW
    if user.loose:
        totals = row[4:7] if row[2:] else (0, 0, 0)
        return (standing.level, standing.xp, *totals, standing.adjustment, *(row[8:] or (0,))), None
    totals = (standing.xp, standing.sessions, standing.theory, standing.practice)
    return (standing.level, *totals, standing.adjustment, standing.milestones), None


def _badges() -> Table[Account]:
    return table_of(
        "tournament_badges",
        "user_id semester_id badge_type earned_at revoked_at",
        3,
        "user {}, tournament {}, {}",
        _badge,
        lambda account: [
            (account.user_id, tournament, badge)
            for tournament, source in account.tournaments.items()
            for badge in source.badges
        ],
    )


def _badge(account: Account, row: Row) -> Expected:
    _, tournament, badge = row[:3]
    source = account.tournaments.get(tournament)
    held = source.badges.get(badge) if source else None
    if source is None or held is None:
        return NO_ROW
    earned, revoked = held
    if not earned and row[3:]:
        earned = row[3]
    return (earned, revoked), source.seq


def _transfers() -> Table[Account]:
    return table_of(
        "credit_transfers",
        "sender_id idempotency_key receiver_id amount memo status reason receipt_seq occurred_at",
        2,
        "transfer_{0}-{1}_transfer_{0}",
        _transfer,
        lambda account: [(account.user_id, key) for key in account.transfers],
    )


def _transfer(account: Account, row: Row) -> Expected:
    source = account.transfers.get(row[1])
    if source is None:
        return NO_ROW
    if source.result is None or source.payload is None:
        return GIVEN
    receiver, amount, memo = source.payload
    if row[2:] and not row[4]:
        memo = ""  # erased, or never there: the receipt keeps the payload's hash
    reason = "insufficient_funds" if source.result == "REJECTED" else None
    return (receiver, amount, memo, source.result, reason, source.seq, source.occurred_us), source.seq
