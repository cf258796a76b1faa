"""The ledger as it was, and as a file."""

import json
import sys
from datetime import datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from schemas.events import CREDIT_TRANSFERS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from sinks.history import COLUMNS
from tests.history.conftest import Laurels, Past
from tests.oracle.academy_log import presence, result, transfer


def now(past: Past) -> str:
    ((moment,),) = past.query("SELECT clock_timestamp()")
    assert isinstance(moment, datetime)
    return moment.isoformat()


def test_a_balance_is_what_was_recorded_by_then_whenever_it_happened(past: Past, laurels: Laurels) -> None:
    past.query("UPDATE users SET opening_xp = 1000, opening_credits = 10 WHERE id = 1")
    before = now(past)
    past.tell(TOURNAMENT_RESULTS, result(1, 9, 3, occurred_at="2020-01-01T00:00:00Z"))
    between = now(past)
    past.tell(TOURNAMENT_RESULTS, result(1, 10, None, revision=2))
    past.tell(CREDIT_TRANSFERS, transfer(1, 2, 3, "late"))

    def at(*moment: str) -> tuple[int, int]:
        code, told = laurels("ledger", "balance", "--user", "1", *moment)
        assert code == 0
        return told["xp"], told["credits"]

    assert at("--at", "2001-01-01") == (1000, 10)
    assert at("--at", before) == (1520, 10 + 100 + 2 - 30 + 5)
    assert at("--at", between) == (1720, 10 + 100 + 2 - 30 + 5 + 40)
    ((xp, credits),) = past.query("SELECT xp_balance, credit_balance FROM users WHERE id = 1")
    assert at() == (xp + 1000, credits + 10)


def test_an_export_has_every_entry_with_its_source(past: Past, laurels: Laurels) -> None:
    code, printed = laurels("ledger", "export")
    assert code == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [set(row) for row in rows] == [set(COLUMNS)] * len(rows)
    tables = ("xp_transactions", "credit_transactions", "skill_rewards")
    assert len(rows) == sum(past.query(f"SELECT count(*) FROM {table}")[0][0] for table in tables)
    row = next(row for row in rows if row["idempotency_key"] == "transfer_1-k_credit_2")
    assert (row["user_id"], row["amount"], row["event_key"]) == (2, 30, "transfer_1-k_transfer_1")
    assert (row["topic"], row["partition"], row["offset"]) == ("credit-transfers", 0, 0)
    assert all(row["ruleset"] and row["event_key"] for row in rows)


def test_an_export_is_of_a_user_and_a_range(past: Past, laurels: Laurels) -> None:
    moment = now(past)
    past.tell(SESSION_ATTENDANCE, presence(1, 21), presence(2, 21))
    _, later = laurels("ledger", "export", "--from", moment, "--user", "2")
    assert [json.loads(line)["idempotency_key"] for line in later.splitlines()] == [
        "session_21_xp_2",
        "session_21_attendance_2",
    ]
    _, earlier = laurels("ledger", "export", "--to", moment)
    assert "session_21" not in earlier
    assert "session_20" in earlier


def test_parquet_holds_the_same_rows(past: Past, laurels: Laurels, tmp_path: Path) -> None:
    lines, table = tmp_path / "all.jsonl", tmp_path / "all.parquet"
    code, told = laurels("ledger", "export", "--output", str(lines))
    assert (code, told["output"]) == (0, str(lines))
    assert laurels("ledger", "export", "--output", str(table)) == (
        0,
        {"rows": told["rows"], "output": str(table)},
    )
    expected = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    for row in expected:
        row["created_at"], row["recorded_at"] = map(datetime.fromisoformat, (row["created_at"], row["recorded_at"]))
    assert parquet.read_table(table).to_pylist() == expected
    assert sorted(tmp_path.iterdir()) == [lines, table]


def test_without_pyarrow_parquet_says_what_is_missing(
    past: Past, laurels: Laurels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert laurels("ledger", "export", "--format", "parquet", "--output", str(tmp_path / "x"))[0] == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("balance", "--user", "404"), 3),
        (("balance", "--user", "1", "--at", "2999-01-01"), 2),
        (("balance", "--user", "1", "--at", "yesterday"), 2),
        (("export", "--user", "404"), 3),
        (("export", "--from", "2026-01-02", "--to", "2026-01-01"), 2),
        (("export", "--from", "2999-01-01"), 2),
        (("export", "--format", "parquet"), 2),
        (("export", "--format", "csv"), 2),
        (("export", "--output", "/nowhere/at/all"), 3),
    ],
)
def test_what_cannot_be_is_refused(past: Past, laurels: Laurels, arguments: tuple[str, ...], expected: int) -> None:
    assert laurels("ledger", *arguments)[0] == expected
