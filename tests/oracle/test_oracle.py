"""The oracle against an auditor with a calculator: every figure here was worked out by hand from the rules' text."""

import tomllib
from importlib import resources
from typing import Any

import pytest

from ops.oracle import Oracle, Outcome, Roster, RowBook, ratings
from ops.oracle.state import Source, SourceKey, Standing
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from tests.oracle.academy_log import AT, LEVELS, command, presence, record, result, transfer

RULESET = tomllib.loads(resources.files("schemas.rulesets").joinpath("academy.toml").read_text())


class Desk:
    """An oracle with a counter for offsets."""

    def __init__(self) -> None:
        self.book = RowBook()
        self.sources: dict[SourceKey, Source] = {}
        self.rosters: dict[SourceKey, Roster] = {}
        self.oracle = Oracle(LEVELS, {"r1": RULESET}, "r1", self.book, self.sources, self.rosters)
        self.offset = 0

    def take(self, topic: str, event: Any) -> Outcome:
        self.offset += 1
        return self.oracle.apply(record(topic, self.offset, event))

    def result(self, *arguments: Any, **others: Any) -> Outcome:
        return self.take(TOURNAMENT_RESULTS, result(*arguments, **others))

    def presence(self, *arguments: Any, **others: Any) -> Outcome:
        return self.take(SESSION_ATTENDANCE, presence(*arguments, **others))

    def command(self, *arguments: Any, **others: Any) -> Outcome:
        return self.take(LEVEL_COMMANDS, command(*arguments, **others))

    def transfer(self, *arguments: Any, **others: Any) -> Outcome:
        return self.take(CREDIT_TRANSFERS, transfer(*arguments, **others))

    def standing(self, user_id: int, specialization: str = "PLAYER") -> Standing:
        return self.oracle.users[user_id].standings[specialization]

    def badges(self, user_id: int, tournament_id: int) -> Any:
        return self.sources["tournament", tournament_id, user_id].badges

    def tournaments(self, user_id: int) -> dict[Any, Source]:
        return {
            id_: source for (kind, id_, user), source in self.sources.items() if (kind, user) == ("tournament", user_id)
        }

    def entries(self, table: str) -> list[tuple[Any, ...]]:
        """Key, type or revision, and amount of a table's rows."""
        if table == "skill_rewards":
            return [row[1:5] for row in self.book.rows[table]]
        return [row[1:4] for row in self.book.rows[table]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def grant(outcome: Outcome) -> dict[str, Any]:
    assert outcome.receipt is not None
    return outcome.receipt.grant


@pytest.mark.parametrize(
    ("placement", "xp", "credits", "points", "badge"),
    [
        (1, 500, 100, 10, "CHAMPION"),
        (2, 300, 60, 7, "RUNNER_UP"),
        (3, 200, 40, 5, "THIRD_PLACE"),
        (4, 100, 10, 3, None),
        (8, 100, 10, 3, None),
        (9, 50, 0, 1, None),
        (None, 50, 0, 1, None),
    ],
)
def test_a_placement_earns_its_band(
    desk: Desk, placement: int | None, xp: int, credits: int, points: int, badge: str | None
) -> None:
    given = grant(desk.result(5, 123, placement, skills=[{"name": "speed"}, {"name": "speed"}]))
    assert desk.entries("xp_transactions") == [("tournament_123_xp_5", "TOURNAMENT_REWARD", xp)]
    paid = [("tournament_123_reward_5", "TOURNAMENT_REWARD", credits)] if credits else []
    assert desk.entries("credit_transactions") == paid
    assert desk.entries("skill_rewards") == [("TOURNAMENT", 123, "speed", points)]
    assert given.get("badge") == badge
    assert (desk.standing(5).xp, desk.standing(5).sessions) == (xp, 0)


@pytest.mark.parametrize(
    ("status", "xp", "credits", "points", "sessions"),
    [("present", 20, 2, 1, 1), ("late", 10, 0, 0, 1), ("absent", 0, 0, 0, 0), ("excused", 0, 0, 0, 0)],
)
def test_a_presence_earns_its_status(
    desk: Desk, status: str, xp: int, credits: int, points: int, sessions: int
) -> None:
    desk.presence(3, 789, status, theory_hours=2, practice_hours=3, skills=[{"name": "speed", "performance": 9}])
    user, standing = desk.oracle.users[3], desk.standing(3)
    assert (user.xp, user.credits) == (xp, credits)
    assert (standing.sessions, standing.theory, standing.practice) == (sessions, 2 * sessions, 3 * sessions)
    assert desk.entries("skill_rewards") == ([("SESSION", 789, "speed", 1)] if points else [])
    assert (standing.level, standing.license, standing.highest) == (1, 1, 1)


def test_the_tenth_session_pays_the_bonus_once(desk: Desk) -> None:
    for session in range(1, 11):
        desk.presence(3, session)
    assert desk.entries("credit_transactions")[-1] == ("session_10_attendance_bonus_3", "ATTENDANCE_BONUS", 50)
    assert desk.oracle.users[3].credits == 10 * 2 + 50
    desk.presence(3, 10, "absent", revision=2)
    assert desk.standing(3).sessions == 9
    desk.presence(3, 11)
    assert desk.standing(3).sessions == 10
    assert desk.oracle.users[3].credits == 10 * 2 + 50


def test_a_correction_that_moves_a_session_can_earn_a_bonus_where_it_goes(desk: Desk) -> None:
    desk.command(3, "c", specialization="COACH", sessions_change=29)
    desk.presence(3, 1, theory_hours=4)
    given = grant(desk.presence(3, 1, "late", revision=3, specialization="COACH", theory_hours=5))
    assert desk.entries("xp_transactions")[1:] == [
        ("session_1_xp_3_r3_reversal", "SESSION_ATTENDANCE_REVERSAL_R3", -20),
        ("session_1_xp_3_r3", "SESSION_ATTENDANCE_R3", 10),
    ]
    assert desk.entries("credit_transactions")[1:] == [
        ("session_1_attendance_3_r3", "SESSION_ATTENDANCE_R3", -2),
        ("session_1_attendance_bonus_3_r3", "ATTENDANCE_BONUS_R3", 150),
    ]
    assert given["counted"] == ["COACH", 1, 0 + 5, 0]
    player, coach = desk.standing(3), desk.standing(3, "COACH")
    assert (player.xp, player.sessions, player.theory) == (0, 0, 0)
    assert (coach.xp, coach.sessions, coach.theory, coach.milestones) == (10, 30, 5, 3)


def test_a_correction_posts_only_the_difference(desk: Desk) -> None:
    desk.result(5, 7, 1, skills=[{"name": "speed"}, {"name": "passing"}])
    assert desk.standing(5).level == 2
    given = grant(desk.result(5, 7, 2, revision=2, skills=[{"name": "passing"}, {"name": "heading"}]))
    assert given == {
        "xp": [["TOURNAMENT_REWARD_R2", "PLAYER", -200]],
        "credits": [["TOURNAMENT_REWARD_R2", -40]],
        "skills": [["speed", -10], ["passing", -3], ["heading", 7]],
        "revoked": ["CHAMPION"],
        "badge": "RUNNER_UP",
        "levels": [["PLAYER", 2, 1]],
    }
    assert desk.entries("skill_rewards")[2:] == [
        ("TOURNAMENT_R2", 7, "speed", -10),
        ("TOURNAMENT_R2", 7, "passing", -3),
        ("TOURNAMENT_R2", 7, "heading", 7),
    ]
    assert desk.badges(5, 7) == {"CHAMPION": (AT_US, True), "RUNNER_UP": (AT_US, False)}
    assert (desk.standing(5).level, desk.standing(5).highest) == (1, 2)


def test_a_withdrawal_takes_back_where_it_was_given_and_a_later_revision_gives_again(desk: Desk) -> None:
    desk.result(5, 7, 1)
    taken = grant(desk.result(5, 7, 1, revision=2, status="withdrawn", specialization="COACH"))
    assert taken == {
        "xp": [["TOURNAMENT_REWARD_R2", "PLAYER", -500]],
        "credits": [["TOURNAMENT_REWARD_R2", -100]],
        "revoked": ["CHAMPION"],
        "levels": [["PLAYER", 2, 1]],
    }
    assert desk.standing(5, "COACH").level == 1
    again = grant(desk.result(5, 7, 1, revision=4, specialization="COACH"))
    assert again == {
        "xp": [["TOURNAMENT_REWARD_R4", "COACH", 500]],
        "credits": [["TOURNAMENT_REWARD_R4", 100]],
        "badge": "CHAMPION",
    }
    assert desk.badges(5, 7) == {"CHAMPION": (AT_US, False)}


def test_a_first_event_may_be_a_withdrawal_of_any_revision(desk: Desk) -> None:
    outcome = desk.result(5, 7, 1, revision=9, status="withdrawn")
    assert outcome.receipt is not None
    assert (outcome.receipt.event_key, outcome.receipt.revision, outcome.receipt.grant) == (
        "tournament_7_result_5",
        9,
        {},
    )
    assert desk.result(5, 7, 1, revision=8) == Outcome("stale")
    later = desk.result(5, 7, 3, revision=10)
    assert later.receipt is not None
    assert (later.receipt.event_key, later.receipt.corrects) == ("tournament_7_result_5_r10", "tournament_7_result_5")
    assert desk.entries("xp_transactions") == [("tournament_7_xp_5_r10", "TOURNAMENT_REWARD_R10", 200)]


def test_the_same_payload_is_a_duplicate_and_another_a_conflict(desk: Desk) -> None:
    desk.result(5, 7, 1, skills=[{"name": "speed", "performance": 50}])
    same = desk.result(
        5,
        7,
        1,
        event_id="other",
        skills=[{"name": "speed", "performance": 50.0}],
        occurred_at="2026-03-01T11:00:00+01:00",
    )
    assert same == Outcome("duplicate")
    assert desk.result(5, 7, 1).reason == "conflict"
    assert (
        desk.result(5, 7, 1, skills=[{"name": "speed", "performance": 50}], occurred_at="2026-03-01T10:00:01Z").reason
        == "conflict"
    )


def test_ratings_follow_the_order_of_the_results_and_not_of_their_arrival(desk: Desk) -> None:
    desk.result(5, 8, 1, participants=5, skills=[{"name": "speed"}], occurred_at="2026-02-02T00:00:00Z")
    desk.result(5, 9, 5, participants=5, skills=[{"name": "speed"}], occurred_at="2026-02-01T00:00:00Z")
    desk.result(5, 4, None, skills=[{"name": "speed", "performance": 90}], occurred_at="2026-02-01T00:00:00Z")
    # 4 before 9 of the same day: 50 -> 58 (90), -> 46.4 (0), then 8: -> 57.12 (100).
    assert ratings(desk.tournaments(5), desk.oracle.rules, "r1") == {"PLAYER": {"speed": (57.12, 3)}}
    desk.result(5, 4, None, revision=2, status="withdrawn")
    # 50 -> 40 -> 52
    assert ratings(desk.tournaments(5), desk.oracle.rules, "r1") == {"PLAYER": {"speed": (52.0, 2)}}


def test_a_command_moves_the_level_and_xp_goes_on_from_there(desk: Desk) -> None:
    desk.command(5, "up", new_level=3, xp_change=600)
    standing = desk.standing(5)
    assert (standing.level, standing.license, standing.adjustment, standing.xp) == (3, 3, 1, 600)
    desk.command(5, "xp", xp_change=900)
    assert (standing.level, standing.highest) == (4, 4)
    desk.command(5, "clear", new_level=3)
    assert (standing.level, standing.adjustment, standing.highest) == (3, 0, 4)
    desk.command(5, "top", new_level=8)
    desk.command(5, "more", xp_change=50_000)
    assert standing.level == 8
    rows = [row[2:4] for row in desk.book.rows["license_progressions"]]
    assert rows == [(1, 3), (3, 4), (4, 3), (3, 8)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "empty_command"),
        ({"new_level": 4, "specialization": "INTERNSHIP"}, "invalid_level"),
        ({"new_level": 0}, "invalid_level"),
        ({"new_level": 999, "xp_change": -1}, "invalid_level"),
        ({"xp_change": -1}, "negative_total"),
        ({"new_level": 2, "theory_hours_change": -1}, "negative_total"),
    ],
)
def test_a_refusal_is_final_and_creates_nobody(desk: Desk, changes: dict[str, Any], reason: str) -> None:
    outcome = desk.command(5, "c", **changes)
    assert (outcome.kind, outcome.reason) == ("dead_letter", reason)
    assert grant(outcome) == {"refused": reason}
    assert desk.oracle.users == {}
    assert desk.command(5, "c", **changes, occurred_at="2026-03-01T10:00:01Z") == Outcome("duplicate")
    assert desk.command(5, "c", **changes, reason="please").reason == "conflict"


def test_a_transfer_needs_cover_and_its_outcome_is_final(desk: Desk) -> None:
    desk.result(1, 7, 1)
    grant_of_first = grant(desk.transfer(1, 2, 100, "k"))
    assert grant_of_first == {"credits": [["TRANSFER_OUT", -100], ["TRANSFER_IN", 100, 2]]}
    assert [row[:4] for row in desk.book.rows["credit_transactions"][1:]] == [
        (1, "transfer_1-k_debit_1", "TRANSFER_OUT", -100),
        (2, "transfer_1-k_credit_2", "TRANSFER_IN", 100),
    ]
    assert grant(desk.transfer(1, 2, 1, "k2")) == {}
    desk.result(1, 8, 1)
    assert desk.transfer(1, 2, 1, "k2", occurred_at="2026-03-01T10:00:01Z") == Outcome("duplicate")
    assert desk.transfer(1, 2, 2, "k2").reason == "conflict"
    assert desk.transfer(1, 1, 2, "k3").reason == "invalid_event"
    assert (desk.oracle.users[1].credits, desk.oracle.users[2].credits) == (100, 100)
    assert desk.oracle.users[2].standings == {}


def test_a_missing_side_takes_the_level_of_the_other_and_sides_apart_the_one_that_xp_gives(desk: Desk) -> None:
    license_only, progress_only, apart = Standing(), Standing(), Standing()
    license_only.license = license_only.highest = 3
    progress_only.level, progress_only.xp, progress_only.adjustment = 2, 100, 1
    apart.level, apart.license, apart.highest, apart.xp = 2, 4, 5, 600
    desk.oracle.user(1).standings["PLAYER"] = license_only
    desk.oracle.user(2).standings["PLAYER"] = progress_only
    desk.oracle.user(3).standings["PLAYER"] = apart
    for user_id in (1, 2, 3):
        desk.presence(user_id, 7, "absent")
    assert (license_only.level, license_only.license, license_only.adjustment) == (3, 3, 2)
    assert (progress_only.level, progress_only.license, progress_only.highest) == (2, 2, 2)
    assert (apart.level, apart.license, apart.adjustment, apart.highest) == (2, 2, 0, 5)
    assert [row[:4] for row in desk.book.rows["license_progressions"]] == [(2, "PLAYER", 1, 2), (3, "PLAYER", 4, 2)]


def test_a_later_roster_replaces_the_earlier(desk: Desk) -> None:
    def roster(at: str, **others: Any) -> Outcome:
        return desk.take(TOURNAMENT_ROSTERS, {"tournament_id": 7, "participants": 2, "finalized_at": at, **others})

    assert roster("2026-03-01T10:00:00Z").kind == "recorded"
    assert roster("2026-03-01T09:59:59Z").kind == "stale"
    assert roster("2026-03-01T11:00:00+01:00").kind == "duplicate"
    assert roster("2026-03-01T10:00:00Z", user_ids=[1]).kind == "recorded"
    assert desk.rosters["roster", 7, 0].user_ids == (1,)


AT_US = 1_772_359_200_000_000
assert AT == "2026-03-01T10:00:00Z"
