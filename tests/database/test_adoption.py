"""The academy's database before and after, row by row. What is expected is worked out in Python, from the rows alone."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from schemas.keys import make_key
from tests.database.adopted import Adopted, Row, by_id
from tests.database.catalog import engine_on, rows
from tests.oracle.academy_log import LEVELS, Academy, presence, result
from tests.services.databases import execute


def _duplicates(table: dict[int, Row], key: Callable[[Row], Any], stays: Callable[[Row], Any]) -> set[int]:
    """All but the row of each group that `stays` ranks first; a key with None in it has no duplicates."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in table.values():
        if None not in key(row):
            groups[key(row)].append(row)
    return {row["id"] for group in groups.values() for row in sorted(group, key=stays)[1:]}


def _first(row: Row) -> int:
    return int(row["id"])


DUPLICATES = {
    "xp_transactions": (lambda row: (row["user_id"], row["semester_id"], row["transaction_type"]), _first),
    "skill_rewards": (
        lambda row: (row["user_id"], row["source_type"], row["source_id"], row["skill_name"]),
        _first,
    ),
    "tournament_badges": (lambda row: (row["user_id"], row["semester_id"], row["badge_type"]), _first),
    "tournament_rankings": (lambda row: (row["tournament_id"], row["user_id"]), _first),
    "tournament_participations": (lambda row: (row["user_id"], row["semester_id"]), _first),
    "user_licenses": (lambda row: (row["user_id"], row["specialization_type"]), _first),
}


def _lesser_progress(progress: dict[int, Row]) -> set[int]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in progress.values():
        groups[row["student_id"], row["specialization_id"]].append(row)
    best = {
        max(group, key=lambda row: (row["current_level"], row["updated_at"], row["id"]))["id"]
        for group in groups.values()
    }
    return set(progress) - best


def test_exactly_the_duplicates_are_removed_and_kept_aside(adopted: Adopted) -> None:
    expected = {table: _duplicates(adopted.before[table], *rule) for table, rule in DUPLICATES.items()}
    expected["specialization_progress"] = _lesser_progress(adopted.before["specialization_progress"])
    for table, before in adopted.before.items():
        gone = set(before) - set(adopted.after[table])
        assert gone == expected.get(table, set()), table
        kept = {
            row["row_id"]: row["row"]
            for row in adopted.kept
            if (row["table_name"], row["action"]) == (table, "removed")
        }
        assert kept == {id_: before[id_] for id_ in gone}, table
        new = set(adopted.after[table]) - set(before)
        added = {row["row_id"] for row in adopted.kept if (row["table_name"], row["action"]) == (table, "added")}
        assert new == added, table
    assert Counter(len(ids) for ids in expected.values()) == Counter([25, 63, 9, 32, 0, 0, 9])


def test_tournament_227_has_its_eight_players_again(adopted: Adopted) -> None:
    ranked = [row for row in adopted.after["tournament_rankings"].values() if row["tournament_id"] == 227]
    assert sorted(row["rank"] for row in ranked) == list(range(1, 9))


CHANGED = {
    "specializations": {"max_levels"},
    "specialization_progress": {"current_level"},
    "user_licenses": {"current_level", "max_achieved_level"},
    "credit_transactions": {"user_id"},
}


def test_no_value_of_a_row_that_stays_changes_but_those_kept_aside(adopted: Adopted) -> None:
    kept = {(row["table_name"], row["row_id"]) for row in adopted.kept if row["action"] == "changed"}
    for table, before in adopted.before.items():
        for id_, old in before.items():
            new = adopted.after[table].get(id_)
            changed = {column for column in old if new is not None and old[column] != new[column]}
            assert changed <= CHANGED.get(table, set()), (table, id_)
            assert (
                bool(changed) == ((table, 0 if table == "specializations" else id_) in kept)
                or table == "specializations"
            )
    old_rows = {
        (row["table_name"], row["row_id"]): row["row"]
        for row in adopted.kept
        if row["reason"] != "the highest level was below the level"
    }
    for (table, id_), old in old_rows.items():
        if table in {"credit_transactions", "specialization_progress"} and (table, id_) in kept:
            assert old == adopted.before[table][id_]


def _owner(adopted: Adopted, row: Row) -> int:
    license_ = adopted.before["user_licenses"].get(row.get("user_license_id") or 0, {})
    return int(row["user_id"] or license_["user_id"])


def _session(row: Row) -> int | None:
    said = re.match(r"Session (\d+)\b", row["description"] or "")
    return int(said[1]) if said else None


def _canonical_credit_key(row: Row, user: int) -> str | None:
    match row["transaction_type"]:
        case "TOURNAMENT_REWARD" if row["semester_id"]:
            return make_key("tournament", row["semester_id"], "reward", user)
        case "ENROLLMENT" if row["enrollment_id"]:
            return make_key("enrollment", row["enrollment_id"], "payment", user)
        case "REFUND" if row["enrollment_id"]:
            return make_key("enrollment", row["enrollment_id"], "refund", user)
    session = _session(row)
    return None if session is None else make_key("session", session, "attendance", user)


def _canonical_xp_key(row: Row, user: int) -> str | None:
    if row["transaction_type"] == "TOURNAMENT_REWARD" and row["semester_id"]:
        return make_key("tournament", row["semester_id"], "xp", user)
    session = _session(row)
    return None if session is None else make_key("session", session, "xp", user)


def _expected_keys(rows_: Iterable[tuple[Row, int]], canonical: Any, fallback: Any) -> dict[int, str]:
    taken: set[str] = set()
    keys = {}
    for row, user in sorted(rows_, key=lambda pair: pair[0]["id"]):
        key = canonical(row, user)
        if key is None or key in taken:
            key = fallback(row, user)
        taken.add(key)
        keys[row["id"]] = key
    return keys


def test_every_credit_row_has_its_owner_and_its_key(adopted: Adopted) -> None:
    before, after = adopted.before["credit_transactions"], adopted.after["credit_transactions"]
    assert len(after) == 599
    assert {id_: row["user_id"] for id_, row in after.items()} == {
        id_: _owner(adopted, row) for id_, row in before.items()
    }
    expected = _expected_keys(
        ((row, _owner(adopted, row)) for row in before.values()),
        _canonical_credit_key,
        lambda row, user: (
            f"{row['transaction_type'].lower()}_{row['semester_id'] or 0}_{user}_{row['enrollment_id'] or 0}_{row['id']}"
        ),
    )
    assert {id_: row["idempotency_key"] for id_, row in after.items()} == expected
    assert (
        sum(key.startswith("tournament_") and "_reward_" in key and key.count("_") == 3 for key in expected.values())
        == 303
    )


def test_every_xp_row_has_its_key(adopted: Adopted) -> None:
    after = adopted.after["xp_transactions"]
    expected = _expected_keys(
        ((row, row["user_id"]) for row in after.values()),
        _canonical_xp_key,
        lambda row, user: f"{row['transaction_type'].lower()}_{row['semester_id'] or 0}_{user}_xp_{row['id']}",
    )
    assert {id_: row["idempotency_key"] for id_, row in after.items()} == expected
    assert {row["specialization_id"] for row in after.values()} == {"PLAYER"}


class _Spoken(NamedTuple):
    """One row that says its source, and what it says was given."""

    row: tuple[str, int]
    key: str
    at: str
    what: str | None
    gift: Any


def _event_key(kind: str, source: int, user: int) -> str:
    if kind == "tournament":
        return make_key("tournament", source, "result", user)
    return make_key("session", source, "presence", user)


def _sources(adopted: Adopted) -> Iterable[_Spoken]:
    tables = {table: sorted(found.items()) for table, found in adopted.after.items()}
    for id_, row in tables["tournament_participations"]:
        key = _event_key("tournament", row["semester_id"], row["user_id"])
        yield _Spoken(("tournament_participations", id_), key, row["achieved_at"], None, None)
    for id_, row in tables["tournament_badges"]:
        key = _event_key("tournament", row["semester_id"], row["user_id"])
        yield _Spoken(("tournament_badges", id_), key, row["earned_at"], "badges", row["badge_type"])
    for table, what in (("xp_transactions", "xp"), ("credit_transactions", "credits")):
        for id_, row in tables[table]:
            rewarded = row["transaction_type"] == "TOURNAMENT_REWARD" and row["semester_id"] is not None
            source = row["semester_id"] if rewarded else _session(row)
            if source is not None:
                key = _event_key("tournament" if rewarded else "session", source, row["user_id"])
                gift = [row["transaction_type"], *(["PLAYER"] if what == "xp" else []), row["amount"]]
                yield _Spoken((table, id_), key, row["created_at"], what, gift)
    for id_, row in tables["skill_rewards"]:
        key = _event_key(row["source_type"].lower(), row["source_id"], row["user_id"])
        gift = [row["skill_name"], row["points_awarded"]]
        yield _Spoken(("skill_rewards", id_), key, row["created_at"], "skills", gift)


def _expected_receipts(adopted: Adopted) -> tuple[dict[str, Row], dict[tuple[str, int], str]]:
    """The receipts that the rows speak of, and which of them caused each ledger row."""
    given: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    times: dict[str, list[str]] = defaultdict(list)
    causes: dict[tuple[str, int], str] = {}
    for spoken in _sources(adopted):
        times[spoken.key].append(spoken.at)
        causes[spoken.row] = spoken.key
        if spoken.what:
            given[spoken.key][spoken.what].append(spoken.gift)
    receipts = {}
    for key, at in times.items():
        grant: Row = dict(given[key])
        badges = grant.pop("badges", [])
        if badges:
            grant |= {"badge": badges[0]} if len(badges) == 1 else {"badges": badges}
        receipts[key] = {"grant": grant, "occurred_at": min(at)}
    return receipts, causes


def test_every_source_that_a_row_speaks_of_has_one_adopted_receipt(adopted: Adopted) -> None:
    expected, causes = _expected_receipts(adopted)
    assert {
        key: {"grant": receipt["grant"], "occurred_at": receipt["occurred_at"]}
        for key, receipt in adopted.receipts.items()
    } == expected
    for key, receipt in adopted.receipts.items():
        assert (receipt["origin"], receipt["revision"], receipt["payload_hash"]) == ("adopted", 1, None), key
        assert key.endswith(f"_{receipt['user_id']}")
    by_time = sorted(adopted.receipts.values(), key=lambda receipt: receipt["seq"])
    assert [receipt["seq"] for receipt in by_time] == list(range(1, len(expected) + 1))
    assert [receipt["occurred_at"] for receipt in by_time] == sorted(receipt["occurred_at"] for receipt in by_time)
    for table in ("xp_transactions", "credit_transactions", "skill_rewards"):
        for id_, row in adopted.after[table].items():
            cause = causes.get((table, id_))
            assert row["receipt_seq"] == (adopted.receipts[cause]["seq"] if cause else None), (table, id_)
            assert row["recorded_at"] == row["created_at"]
    with engine_on(adopted.url).connect() as connection:
        assert connection.execute(text("SELECT last_value FROM reward_receipts_seq")).scalar_one() == len(expected)


def test_nothing_is_paid_or_taken_by_the_adoption(adopted: Adopted) -> None:
    for id_, user in adopted.before["users"].items():
        after = adopted.after["users"][id_]
        assert (after["xp_balance"], after["credit_balance"]) == (user["xp_balance"], user["credit_balance"])
        assert (after["opening_xp"], after["opening_credits"]) == (0, 0)


def _xp_level(specialization: str, total: int) -> int:
    return max([level for level, need in enumerate(LEVELS[specialization], start=1) if need <= total], default=1)


def test_the_adopted_levels_stand_within_the_maximum(adopted: Adopted) -> None:
    earning = {row["user_id"] for row in adopted.before["xp_transactions"].values()}
    for id_, new in adopted.after["specialization_progress"].items():
        old = adopted.before["specialization_progress"][id_]
        specialization = old["specialization_id"]
        assert new["current_level"] == min(old["current_level"], len(LEVELS[specialization]))
        assert new["level_adjustment"] == new["current_level"] - _xp_level(specialization, old["total_xp"])
        assert new["milestones_paid"] == old["completed_sessions"] // 10
        earned = specialization == "PLAYER" and old["student_id"] in earning
        assert new["opening_xp"] == (0 if earned else old["total_xp"])


def test_licenses_above_the_maximum_come_down_with_a_progression(adopted: Adopted) -> None:
    progressions = {row["row_id"]: row["row"] for row in adopted.kept if row["table_name"] == "license_progressions"}
    expected = {}
    for id_, old in adopted.before["user_licenses"].items():
        new = adopted.after["user_licenses"][id_]
        level = min(old["current_level"], len(LEVELS[old["specialization_type"]]))
        assert new["current_level"] == level
        assert new["max_achieved_level"] == max(old["max_achieved_level"], level)
        assert (new["football_skills"], new["adopted_skills"]) == (old["football_skills"], old["football_skills"])
        if level != old["current_level"]:
            expected[id_] = (old["current_level"], level)
    assert {row["user_license_id"]: (row["from_level"], row["to_level"]) for row in progressions.values()} == expected
    assert len(expected) == 10


def test_the_database_has_the_levels_that_the_rules_state(adopted: Adopted) -> None:
    with engine_on(adopted.url).connect() as connection:
        levels = connection.execute(
            text(
                "SELECT specialization_id, array_agg(xp_needed ORDER BY level), array_agg(name ORDER BY level) "
                "FROM specialization_levels GROUP BY 1"
            )
        ).all()
        maxima = dict(connection.execute(text("SELECT id, max_levels FROM specializations")).all())
    assert {name: tuple(needs) for name, needs, _ in levels} == LEVELS
    assert {name: names for name, _, names in levels}["INTERNSHIP"] == ["Junior", "Mid-level", "Senior"]
    assert maxima == {name: len(needs) for name, needs in LEVELS.items()}


def test_adopted_participations_say_so_and_later_ones_do_not(just_adopted: Adopted) -> None:
    assert {row["adopted"] for row in just_adopted.after["tournament_participations"].values()} == {True}
    execute(
        just_adopted.url,
        "INSERT INTO tournament_participations (user_id, semester_id, achieved_at) VALUES (120, 201, now())",
    )
    with engine_on(just_adopted.url).connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM tournament_participations WHERE NOT adopted"))
        assert count.scalar_one() == 1


@pytest.mark.parametrize(
    "second",
    [
        (
            "INSERT INTO xp_transactions (user_id, transaction_type, amount, semester_id, idempotency_key) "
            "SELECT user_id, transaction_type, amount, semester_id, 'second' FROM xp_transactions WHERE semester_id = 227 "
            "LIMIT 1"
        ),
        (
            "INSERT INTO skill_rewards (user_id, source_type, source_id, skill_name, points_awarded) "
            "SELECT user_id, source_type, source_id, skill_name, 1 FROM skill_rewards LIMIT 1"
        ),
        (
            "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key) "
            "SELECT user_id, 'ANOTHER', 1, idempotency_key FROM credit_transactions LIMIT 1"
        ),
    ],
    ids=["XP", "skill reward", "credit key"],
)
def test_a_second_one_is_refused(adopted: Adopted, second: str) -> None:
    with pytest.raises(Exception, match="duplicate key value violates unique constraint"):
        execute(adopted.url, second)


def test_replaying_history_onto_an_adopted_database_pays_nothing_twice(just_adopted: Adopted) -> None:
    academy = Academy(just_adopted.url)
    for participation in just_adopted.before["tournament_participations"].values():
        academy.publish(
            TOURNAMENT_RESULTS,
            result(participation["user_id"], participation["semester_id"], participation["placement"]),
        )
    for receipt in just_adopted.receipts:
        kind, source, _, user = receipt.split("_")
        if kind == "session":
            academy.publish(SESSION_ATTENDANCE, presence(int(user), int(source)))
    academy.deliver()
    academy.close()
    with engine_on(just_adopted.url).connect() as connection:
        after = by_id(rows(connection, list(just_adopted.after)))
        remembered = connection.execute(text("SELECT count(payload_hash) FROM reward_receipts")).scalar_one()
    assert after == just_adopted.after
    assert remembered == len(just_adopted.receipts)
