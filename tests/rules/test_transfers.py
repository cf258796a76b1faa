from typing import Any

import pytest

from schemas.payload import payload_hash
from schemas.rewards import CreditEntry, Duplicate, Grant, Refused, Source, UserState
from tests.rules.academy import LEVELS, OTHER_USER, RULES, USER, Student, day, transfer

KEY = "transfer_5-k-1_transfer_5"


def holder(credits: int) -> Student:
    return Student(UserState(USER, LEVELS, credit_balance=credits))


@pytest.mark.parametrize(("balance", "amount"), [(10, 10), (11, 10), (1_000_000_000, 1_000_000_000), (1, 1)])
def test_a_covered_transfer_has_two_legs_that_sum_to_zero(balance: int, amount: int) -> None:
    student = holder(balance)
    event = transfer(amount)
    grant = student.grant(event)
    assert (grant.event_key, grant.transfer) == (KEY, "COMPLETED")
    assert grant.credits == (
        CreditEntry(USER, "TRANSFER_OUT", -amount, "transfer_5-k-1_debit_5"),
        CreditEntry(OTHER_USER, "TRANSFER_IN", amount, "transfer_5-k-1_credit_9"),
    )
    assert grant.source_after == Source(1, payload_hash(event), RULES.hash)
    assert student.state.credit_balance == balance - amount


@pytest.mark.parametrize(("balance", "amount"), [(9, 10), (0, 1), (-5, 1)])
def test_a_transfer_that_is_not_covered_is_rejected_without_entries(balance: int, amount: int) -> None:
    grant = holder(balance).grant(transfer(amount))
    assert (grant.transfer, grant.credits) == ("REJECTED", ())


@pytest.mark.parametrize("balance", [100, 0])
def test_a_transfer_touches_neither_progress_nor_license(balance: int) -> None:
    grant = holder(balance).grant(transfer())
    assert (grant.progress_after, grant.licenses_after, grant.xp, grant.level_changes) == ({}, {}, (), ())


@pytest.mark.parametrize("balance", [100, 0])
def test_a_transfer_delivered_again_is_a_duplicate_even_with_another_time(balance: int) -> None:
    first, again = holder(balance).deliver_together(transfer(), transfer(occurred_at=day(1)))
    assert isinstance(first, Grant)
    assert again == Duplicate(KEY)


def test_a_rejection_is_final_when_the_balance_would_cover_it_later() -> None:
    student = holder(0)
    student.deliver(transfer())
    student.state.credit_balance = 1000
    assert student.deliver(transfer()) == Duplicate(KEY)
    assert student.state.credit_balance == 1000


@pytest.mark.parametrize("changed", [{"amount": 11}, {"receiver_id": 10}, {"memo": "thanks"}])
def test_the_same_key_for_another_transfer_is_a_conflict(changed: dict[str, Any]) -> None:
    student = holder(100)
    student.deliver(transfer())
    conflict = student.deliver(transfer(**changed))
    assert isinstance(conflict, Refused)
    assert (conflict.reason, conflict.event_key, conflict.source_after) == ("conflict", KEY, None)


def test_each_transfer_of_a_batch_sees_what_those_before_it_left() -> None:
    events = [transfer(60, idempotency_key=key) for key in ("a", "b")]
    outcomes = [grant.transfer for grant in holder(100).deliver_together(*events) if isinstance(grant, Grant)]
    assert outcomes == ["COMPLETED", "REJECTED"]
