import json
from collections import Counter

import pytest
from sqlalchemy import text

from ops.cli import main
from sinks import migration
from sinks.adoption import plan_adoption, report_adoption
from sinks.migration import migrate_to_head
from tests.database.adopted import Adopted
from tests.database.catalog import engine_on, rows, table_names


def test_the_plan_says_beforehand_what_happens_and_writes_nothing(legacy_url: str) -> None:
    with engine_on(legacy_url).connect() as connection:
        names = table_names(connection)
        before = rows(connection, names)
    plan = plan_adoption(legacy_url)
    with engine_on(legacy_url).connect() as connection:
        assert table_names(connection) == names
        assert rows(connection, names) == before
    assert (plan.revision, all(table.accounted for table in plan.tables)) == (None, True)
    assert {table.table: table.before for table in plan.tables} == {
        name: len(before[name]) for name in names if name != "internship_levels"
    }
    migrate_to_head(legacy_url)
    with engine_on(legacy_url).connect() as connection:
        happened = connection.execute(
            text("SELECT action, table_name, reason, count(*) FROM migration_removed_rows GROUP BY 1, 2, 3")
        ).all()
        after = {
            table.table: connection.execute(text(f"SELECT count(*) FROM {table.table}")).scalar_one()
            for table in plan.tables
        }
    planned = {
        (action, finding.table, finding.what, finding.rows)
        for action, findings in (("removed", plan.removed), ("changed", plan.changed), ("added", plan.added))
        for finding in findings
    }
    assert planned == {tuple(row) for row in happened}
    assert {table.table: table.after for table in plan.tables} == after
    filled = {(finding.table, finding.what): finding.rows for finding in plan.backfilled}
    assert filled["credit_transactions", "canonical keys"] + filled["credit_transactions", "fallback keys"] == 599
    assert all(
        len(finding.examples) == min(3, finding.rows) for finding in [*plan.removed, *plan.changed, *plan.backfilled]
    )


def test_a_plan_for_what_is_adopted_already_finds_nothing(adopted: Adopted) -> None:
    plan = plan_adoption(adopted.url)
    assert [*plan.removed, *plan.changed, *plan.added, *plan.backfilled] == []
    assert all(table.before == table.after for table in plan.tables)


def test_a_plan_gives_up_rather_than_wait_behind_a_writer(legacy_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    patched = pytest.MonkeyPatch()
    patched.setattr(migration, "_REHEARSAL_LOCK_TIMEOUT", "50ms")
    patched.setenv("DATABASE_URL", legacy_url)
    with engine_on(legacy_url).begin() as writer:
        writer.execute(text("UPDATE specialization_progress SET total_xp = 1 WHERE id = 1"))
        with pytest.raises(SystemExit) as exit_:
            main(["migrate", "--plan"])
    patched.undo()
    assert exit_.value.code == 3
    assert "lock timeout" in capsys.readouterr().err


def _off(adopted: Adopted, balance: str, ledger: str) -> dict[int, tuple[int, int]]:
    sums: Counter[int] = Counter()
    for row in adopted.after[ledger].values():
        sums[row["user_id"]] += row["amount"]
    users = adopted.before["users"]
    return {id_: (users[id_][balance], sums[id_]) for id_ in users if users[id_][balance] != sums[id_]}


def test_the_report_finds_the_users_whose_balances_are_off(adopted: Adopted) -> None:
    report = {(finding.table, finding.what): finding for finding in report_adoption(adopted.url).findings}
    xp, credits_ = (
        _off(adopted, "xp_balance", "xp_transactions"),
        _off(adopted, "credit_balance", "credit_transactions"),
    )
    duplicates = report["users", "XP balances that are off by exactly the duplicate XP that adoption removed"]
    others = report["users", "XP balances that are off for another reason"]
    assert duplicates.rows + others.rows == len(xp) == 23
    assert {example["user_id"]: (example["balance"], example["entries"]) for example in others.examples} == {
        41: (397, 390),
        82: (467, 360),
    }
    assert report["users", "credit balances that are off"].rows == len(credits_) == 2
    assert report["credit_transactions", "sources that gave or took credits more than once"].rows == 12


def test_the_report_counts_the_desyncs_and_leaves_them(adopted: Adopted) -> None:
    progress = {
        (row["student_id"], row["specialization_id"]): row["current_level"]
        for row in adopted.after["specialization_progress"].values()
    }
    licenses = {
        (row["user_id"], row["specialization_type"]): row["current_level"]
        for row in adopted.after["user_licenses"].values()
    }
    report = {finding.what[-8:-1]: finding.rows for finding in report_adoption(adopted.url).findings}
    assert report["SYNC-01"] == sum(level != licenses[key] for key, level in progress.items() if key in licenses) > 0
    assert report["SYNC-02"] == len(progress.keys() - licenses.keys()) > 0
    assert report["SYNC-03"] == len(licenses.keys() - progress.keys()) > 0


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--report", 1)])
def test_the_command_answers_in_json(
    adopted: Adopted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, code: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", adopted.url)
    with pytest.raises(SystemExit) as exit_:
        main(["migrate", option, "--json"])
    assert exit_.value.code == code
    assert set(json.loads(capsys.readouterr().out)) >= ({"tables", "removed"} if option == "--plan" else {"findings"})
