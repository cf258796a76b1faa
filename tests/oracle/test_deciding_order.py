"""A batch is decided user by user, so that a user's rows stand side by side; who reads it off cannot tell otherwise."""

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.events import CREDIT_TRANSFERS, TOURNAMENT_RESULTS
from schemas.rewards import Duplicate, Grant, Refused
from sinks.batch import Batch
from tests.oracle.academy_log import Academy, record, result, transfer


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    academy = Academy(database_url)
    yield academy
    academy.close()


def test_receipts_are_numbered_user_by_user_and_each_users_in_the_order_delivered(academy: Academy) -> None:
    academy.tell(
        TOURNAMENT_RESULTS,
        result(2, 10, 1),
        result(1, 10, 2),
        result(2, 11, 3),
        result(1, 10, 3, revision=2),
        result(2, 9, 1),
    )
    assert academy.query("SELECT user_id, event_key FROM reward_receipts ORDER BY seq") == [
        (1, "tournament_10_result_1"),
        (1, "tournament_10_result_1_r2"),
        (2, "tournament_10_result_2"),
        (2, "tournament_11_result_2"),
        (2, "tournament_9_result_2"),
    ]
    assert academy.verify().differences == []


def test_decisions_are_told_in_the_order_of_the_deliveries(academy: Academy) -> None:
    academy.tell(TOURNAMENT_RESULTS, *(result(user_id, 10, 1) for user_id in (4, 5, 6)))
    events: list[dict[str, Any] | bytes] = [
        result(5, 10, 1),
        result(3, 10, 1),
        b"{",
        result(4, 10, 1),
        result(6, 10, 1),
    ]
    # The first batch settled nothing, so the second one looks for duplicates as it goes, and the third one before.
    for offset in (10, 20):
        records = [record(TOURNAMENT_RESULTS, offset + i, event) for i, event in enumerate(events)]
        recorded = academy.ledger.record(Batch([academy.delivery(each) for each in records]))
        new = Grant if offset == 10 else Duplicate
        assert [type(decision) for decision in recorded.decisions] == [Duplicate, new, Refused, Duplicate, Duplicate]
        keys = [None if isinstance(d, Refused | None) else d.event_key for d in recorded.decisions]
        assert keys == [f"tournament_10_result_{user}" if user else None for user in (5, 3, None, 4, 6)]


def test_transfers_are_decided_in_the_order_delivered_whoever_sends_them(academy: Academy) -> None:
    academy.tell(TOURNAMENT_RESULTS, result(9, 10, 1))
    academy.tell(CREDIT_TRANSFERS, transfer(9, 1, 50, "a"), transfer(1, 2, 50, "b"))
    assert academy.query("SELECT sender_id, status FROM credit_transfers ORDER BY receipt_seq") == [
        (9, "COMPLETED"),
        (1, "COMPLETED"),
    ]
