"""Desyncs: found, planned, mended and gone."""

from contextlib import closing
from typing import Any, NamedTuple

import pytest
from psycopg2.extensions import connection as Connection

from sinks.coupling.desyncs import Kind, UnknownSpecialization, check, count_desyncs
from sinks.coupling.plans import Item, Plan, Scope, Side, UnknownPlan, make_plan
from sinks.ledger import Identity, Ledger
from sinks.migration import migrate_to_head
from sinks.roles import API, WORKER
from streams import rules
from streams import sync as syncing
from streams.schedule import Task, run_if_due
from streams.sync import Applied, apply_plan
from tests.coupling.stand import Stand

EVERYONE = Scope()


class Case(NamedTuple):
    """The levels found, of what kinds that is, and the level that both sides have afterwards, by the source."""

    progress: int | None
    license: int | None
    kinds: list[Kind]
    source: Side
    level: int
    progression: list[tuple[int, int]]


CASES = [
    Case(3, 2, ["level_mismatch"], "progress", 3, [(2, 3)]),
    Case(3, 2, ["level_mismatch"], "license", 2, []),
    Case(2, 5, ["level_mismatch"], "progress", 2, [(5, 2)]),
    Case(4, None, ["progress_without_license"], "progress", 4, [(1, 4)]),
    Case(4, None, ["progress_without_license"], "license", 4, [(1, 4)]),
    Case(None, 6, ["license_without_progress"], "progress", 6, []),
    Case(None, 6, ["license_without_progress"], "license", 6, []),
    Case(3, 11, ["level_mismatch", "level_above_maximum"], "license", 8, [(11, 8)]),
    Case(None, 11, ["license_without_progress", "level_above_maximum"], "progress", 8, [(11, 8)]),
]


def plan_for(stand: Stand, scope: Scope = EVERYONE, source: Side = "progress") -> Plan:
    with closing(stand.connect()) as connection, connection, connection.cursor() as cursor:
        return make_plan(cursor, scope, source, actor="otto", reason="by test", advanced_by=9)


def apply(stand: Stand, plan: Plan) -> Applied:
    return apply_plan(stand.connect, stand.ledger, plan.id, actor="otto", origin="cli")


def rows(stand: Stand) -> list[Any]:
    return [stand.run(f"SELECT * FROM {table} ORDER BY id") for table in ("specialization_progress", "user_licenses")]


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_desync_is_found_and_mended(stand: Stand, case: Case) -> None:
    stand.part(7, "PLAYER", case.progress, case.license)
    (found,) = stand.desyncs()
    assert (found.user_id, found.specialization) == (7, "PLAYER")
    assert found.kinds == case.kinds
    (item,) = stand.sync(Scope(7, "PLAYER"), case.source)
    assert (item.progress_level, item.license_level, item.new_level) == (case.progress, case.license, case.level)
    assert item.outcome == "synced"
    assert stand.levels(7) == (case.level, case.level)
    assert stand.progressions(7) == case.progression
    assert stand.desyncs() == []


def test_a_highest_level_below_the_current_one_is_found_and_raised(stand: Stand) -> None:
    stand.part(7, "COACH", 5, 5)
    stand.run("UPDATE user_licenses SET max_achieved_level = 2")
    (found,) = stand.desyncs()
    assert found.kinds == ["highest_below_current"]
    stand.sync(EVERYONE)
    assert stand.run("SELECT current_level, max_achieved_level FROM user_licenses") == [(5, 5)]
    assert stand.desyncs() == []


def test_a_level_set_by_sync_stands_while_xp_counts_on(stand: Stand) -> None:
    stand.part(7, "PLAYER", None, 4)
    stand.sync(EVERYONE)
    stand.command(7, "xp", xp_change=500)
    assert stand.levels(7) == (5, 5), "one level more by 500 XP"


def test_a_check_says_both_levels_and_what_to_do(stand: Stand) -> None:
    stand.part(7, "PLAYER", 3, 5)
    with closing(stand.connect()) as connection, connection.cursor() as cursor:
        apart = check(cursor, 7, "PLAYER")
        nothing = check(cursor, 7, "COACH")
        with pytest.raises(UnknownSpecialization, match="WIZARD"):
            check(cursor, 7, "WIZARD")
    assert (apart.consistent, apart.progress_level, apart.license_level, apart.difference) == (False, 3, 5, -2)
    assert apart.message == "progress is at level 3, license at 5"
    assert apart.recommended_action == "sync from progress: both to level 3"
    assert (nothing.consistent, nothing.recommended_action) == (True, "none")


def test_only_the_specialization_that_is_meant_is_mended(stand: Stand) -> None:
    for specialization in ("PLAYER", "COACH"):
        stand.part(7, specialization, 2, 3)
    stand.part(8, "PLAYER", 2, 3)
    assert len(stand.sync(Scope(7, "COACH"))) == 1
    assert [(one.user_id, one.specialization) for one in stand.desyncs()] == [(7, "PLAYER"), (8, "PLAYER")]
    assert len(stand.sync(Scope(7))) == 1
    assert len(stand.sync(Scope(specialization="PLAYER"))) == 1
    assert stand.desyncs() == []


def test_a_plan_changes_nothing_until_it_is_applied_and_then_once(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user_id in range(1, 6):
        stand.part(user_id, "PLAYER", 2, 3)
    before = rows(stand)
    plan = plan_for(stand)
    assert (plan.items, plan.pending, rows(stand)) == (5, 5, before)
    monkeypatch.setattr(syncing, "CHUNK", 2)
    seen: list[int] = []
    applied = apply_plan(stand.connect, stand.ledger, plan.id, actor="eva", origin="cli", progressed=seen.append)
    assert (applied.counts, applied.left, seen) == ({"synced": 5}, [], [2, 2, 1])
    after = rows(stand)
    audited = stand.run("SELECT actor, action, count(*) FROM audit_log GROUP BY 1, 2 ORDER BY 3")
    assert audited == [("otto", "sync.planned", 1), ("eva", "sync.applied", 3)]
    reasons = stand.run("SELECT DISTINCT advanced_by, advancement_reason FROM license_progressions")
    assert reasons == [(9, "sync from progress by otto: by test")]
    assert apply(stand, plan).counts == {}
    assert rows(stand) == after


def test_a_repair_whose_outcome_was_not_kept_is_not_repeated(stand: Stand) -> None:
    stand.part(1, "PLAYER", 2, 3)
    plan = plan_for(stand)
    apply(stand, plan)
    stand.run("UPDATE sync_plan_items SET outcome = NULL, applied_at = NULL")
    stand.command(1, "meanwhile", new_level=6)
    assert apply(stand, plan).counts == {"synced": 1}, "as it was, the first time"
    assert stand.levels(1) == (6, 6)


@pytest.mark.parametrize("change", ["progress", "license", "mended", "gone"])
def test_what_has_changed_since_it_was_planned_is_left_and_said(stand: Stand, change: str) -> None:
    stand.part(1, "PLAYER", 2, 3)
    stand.part(2, "PLAYER", 2, 3)
    plan = plan_for(stand)
    match change:
        case "progress":
            stand.run("UPDATE specialization_progress SET current_level = 4 WHERE student_id = 1")
        case "license":
            stand.run("UPDATE user_licenses SET current_level = 1 WHERE user_id = 1")
        case "mended":
            stand.sync(Scope(1), "license")
        case "gone":
            stand.run("DELETE FROM user_licenses WHERE user_id = 1")
    before = stand.levels(1)
    receipts = stand.run("SELECT count(*) FROM reward_receipts WHERE user_id = 1")
    applied = apply(stand, plan)
    assert applied.counts == {"changed": 1, "synced": 1}
    (left,) = applied.left
    assert (left.user_id, left.outcome) == (1, "changed")
    assert left.detail == f"progress is at {before[0]}, license at {before[1]}"
    assert stand.levels(1) == before
    assert stand.run("SELECT count(*) FROM reward_receipts WHERE user_id = 1") == receipts
    assert stand.levels(2) == (2, 2)


def test_a_plan_that_nobody_made_cannot_be_applied(stand: Stand) -> None:
    with pytest.raises(UnknownPlan, match="nobodys"):
        apply_plan(stand.connect, stand.ledger, "nobodys", actor="otto", origin="cli")


def test_every_repair_leaves_for_its_topic(stand: Stand) -> None:
    stand.part(1, "PLAYER", 2, 3)
    stand.run("DELETE FROM outbox")
    (item,) = stand.sync(EVERYONE)
    assert isinstance(item, Item)
    messages = "SELECT count(*) FROM outbox, json_array_elements(messages::json) m WHERE m->>'topic' = 'level-commands'"
    assert stand.run(messages) == [(1,)]


@pytest.mark.parametrize("role", [WORKER, API])
def test_the_roles_that_serve_may_plan_and_mend(stand: Stand, role: str) -> None:
    stand.part(1, "PLAYER", 2, None)

    def connect_as_role() -> Connection:
        connection = stand.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        return connection

    with closing(Ledger(connect_as_role, rules, Identity("", ""))) as ledger:
        (item,) = syncing.sync(connect_as_role, ledger, EVERYONE, "progress", actor="eva", origin="http")
        assert run_if_due(connect_as_role, Task("nothing", 1.0, dict), owner="eva")
    assert item.outcome == "synced"


def test_an_adopted_academys_desyncs_are_all_found_planned_and_mended(legacy_url: str) -> None:
    migrate_to_head(legacy_url)
    stand = Stand(legacy_url)
    with closing(stand):
        found = {(one.user_id, one.specialization): one for one in stand.desyncs()}
        by_hand = {
            (user_id, specialization)
            for user_id, specialization, progress, license_, highest, most in stand.run(
                "SELECT u.id, s.id, p.current_level, l.current_level, l.max_achieved_level, s.max_levels"
                " FROM users u CROSS JOIN specializations s"
                " LEFT JOIN specialization_progress p ON (p.student_id, p.specialization_id) = (u.id, s.id)"
                " LEFT JOIN user_licenses l ON (l.user_id, l.specialization_type) = (u.id, s.id)"
            )
            if progress != license_ or max(progress or 0, license_ or 0) > most or (highest or 0) < (license_ or 0)
        }
        assert found.keys() == by_hand
        with closing(stand.connect()) as connection, connection, connection.cursor() as cursor:
            counts = count_desyncs(cursor)
        assert min(counts["level_mismatch"], counts["progress_without_license"], counts["license_without_progress"]) > 0
        plan = plan_for(stand)
        assert plan.items == len(found)
        totals = stand.run("SELECT sum(xp_balance), sum(credit_balance) FROM users")
        applied = apply(stand, plan)
        assert applied.counts == {"synced": len(found)}
        assert stand.desyncs() == []
        assert stand.run("SELECT sum(xp_balance), sum(credit_balance) FROM users") == totals
        for (user_id, specialization), one in found.items():
            level = one.license_level if one.progress_level is None else one.progress_level
            assert stand.levels(user_id, specialization) == (level, level)
