"""`laurels reconcile --full --json` lists exactly what is wrong with an adopted academy, worked out from its SQL alone."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from sinks.migration import migrate_to_head
from tests.reconciliation.conftest import Laurels
from tests.services.databases import LEGACY

Row = dict[str, str | int | None]
Wrong = tuple[str, object, str, str]
"""Invariant, user, what was expected, what was found."""

_INSERT = re.compile(r"INSERT INTO (\w+) \(([^)]*)\) VALUES\n(.*?);\n", re.DOTALL)
_VALUE = re.compile(r"'((?:[^']|'')*)'|(NULL)|(-?\d+)|(?:-?\d+\.\d+)")


def read_academy() -> dict[str, list[Row]]:
    """The rows of each table, with the ids that a serial column gives them."""
    tables: dict[str, list[Row]] = defaultdict(list)
    for table, columns, values in _INSERT.findall(LEGACY.read_text(encoding="utf-8")):
        names = columns.split(", ")
        for line in values.splitlines():
            found = [None if null else int(number) if number else text for text, null, number in _VALUE.findall(line)]
            assert len(found) == len(names), line
            tables[table].append({"id": len(tables[table]) + 1} | dict(zip(names, found, strict=True)))
    return tables


ACADEMY = read_academy()


def kept_xp() -> Counter[object]:
    """Each user's XP: of several rows of one user, tournament and type the first one counts."""
    kept: dict[object, Row] = {}
    for row in ACADEMY["xp_transactions"]:
        once = (
            row["id"] if row["semester_id"] is None else (row["user_id"], row["semester_id"], row["transaction_type"])
        )
        kept.setdefault(once, row)
    return _sums((row["user_id"], row["amount"]) for row in kept.values())


def all_credits() -> Counter[object]:
    """Each user's credits: no row goes, and what is booked on a license is its owner's."""
    owners = {row["id"]: row["user_id"] for row in ACADEMY["user_licenses"]}
    rows = ACADEMY["credit_transactions"]
    return _sums((row["user_id"] or owners[row["user_license_id"]], row["amount"]) for row in rows)


def _sums(amounts: Iterator[tuple[object, object]]) -> Counter[object]:
    sums: Counter[object] = Counter()
    for user, amount in amounts:
        sums[user] += int(str(amount))
    return sums


def levels(table: str, user: str, specialization: str) -> dict[tuple[object, object], Row]:
    """Of several rows the highest level, then the latest; and of five levels of INTERNSHIP three are left."""
    best: dict[tuple[object, object], Row] = {}
    for row in ACADEMY[table]:
        who = (row[user], row[specialization])
        newer = (row["current_level"], row.get("updated_at", ""))
        if who not in best or newer > (best[who]["current_level"], best[who].get("updated_at", "")):  # type: ignore[operator]
            best[who] = row
    return {
        who: row | {"level": min(int(str(row["current_level"])), 3 if who[1] == "INTERNSHIP" else 8)}
        for who, row in best.items()
    }


def wrong_balances() -> Iterator[Wrong]:
    xp, credits = kept_xp(), all_credits()
    for user in ACADEMY["users"]:
        held_xp, held_credits = user["xp_balance"], int(str(user["credit_balance"]))
        if held_xp != xp[user["id"]]:
            yield "INV-R01", user["id"], str(xp[user["id"]]), str(held_xp)
        if held_credits != credits[user["id"]]:
            yield "INV-R02", user["id"], str(credits[user["id"]]), str(held_credits)
        if held_credits < 0:
            yield "OPS-06", user["id"], "a credit balance of at least 0", str(held_credits)


def wrong_levels() -> Iterator[Wrong]:
    progress = levels("specialization_progress", "student_id", "specialization_id")
    licenses = levels("user_licenses", "user_id", "specialization_type")
    for who in sorted(progress.keys() | licenses.keys(), key=str):
        user_id, specialization = who
        if who not in licenses:
            yield "SYNC-02", user_id, f"{specialization}: a license", f"progress at {progress[who]['level']} alone"
        elif who not in progress:
            yield "SYNC-03", user_id, f"{specialization}: progress", f"a license at {licenses[who]['level']} alone"
        elif progress[who]["level"] != licenses[who]["level"]:
            found = f"progress at {progress[who]['level']}, license at {licenses[who]['level']}"
            yield "SYNC-01", user_id, f"{specialization}: one level", found


def wrong_totals() -> Iterator[Wrong]:
    """All XP is PLAYER's; who has none at all opened with what the progress says."""
    xp = kept_xp()
    for (user_id, specialization), row in levels("specialization_progress", "student_id", "specialization_id").items():
        if specialization == "PLAYER" and user_id in xp and row["total_xp"] != xp[user_id]:
            at = f"level {row['level']}"
            yield "INV-R08", user_id, f"PLAYER: {xp[user_id]} XP, {at}", f"{row['total_xp']} XP, {at}"


def what_is_wrong() -> dict[tuple[str, str], tuple[str, str]]:
    """By invariant and subject, what an alert says was expected and found."""
    wrong: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for invariant, user_id, expected, found in (*wrong_balances(), *wrong_levels(), *wrong_totals()):
        wrong[invariant, f"user {user_id}"].append((expected, found))
    return {what: ("; ".join(e for e, _ in pairs), "; ".join(f for _, f in pairs)) for what, pairs in wrong.items()}


def test_it_lists_exactly_what_is_wrong_with_an_adopted_academy(
    legacy_url: str, laurels: Laurels, bootstrap_servers: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    migrate_to_head(legacy_url)
    code, told = laurels(legacy_url, "--full", "--json")
    assert code == 1
    listed = {(one["invariant"], one["subject"]): (one["expected"], one["found"]) for one in told["violations"]}
    assert listed == what_is_wrong()
    assert len(listed) == len(told["violations"])
    # No topic holds what the academy did before it was adopted.
    assert told["differences"] == []
    assert Counter(kind for kind, _ in listed) == {
        "INV-R01": 23,
        "INV-R02": 2,
        "INV-R08": 3,
        "SYNC-01": 10,
        "SYNC-02": 12,
        "SYNC-03": 12,
        "OPS-06": 22,
    }
