"""Python looks for cycles rarely in a ledger's process, so whatever batches leave of them is held for hours."""

import gc
from collections.abc import Iterator
from contextlib import closing

import pytest

import sinks.ledger.ledger
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from tests.oracle.academy_log import Academy, command, presence, result, transfer


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(Academy(database_url)) as academy:
        yield academy


@pytest.fixture
def nobody_looks() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def some_of_each(academy: Academy, number: int) -> None:
    academy.tell(
        TOURNAMENT_RESULTS, result(1, number, placement=1), result(2, number, placement=5), b"{", {"user_id": 1}
    )
    academy.tell(TOURNAMENT_RESULTS, result(1, number, placement=2, event_id=f"again-{number}", revision=2))
    academy.tell(SESSION_ATTENDANCE, presence(1, number))
    academy.tell(LEVEL_COMMANDS, command(1, f"level-{number}", specialization="PLAYER", target_level=99))
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 1, f"transfer-{number}"))


def test_batches_leave_no_cycles_behind(academy: Academy, monkeypatch: pytest.MonkeyPatch, nobody_looks: None) -> None:
    # The active ruleset and the levels are asked for by every batch.
    monkeypatch.setattr(sinks.ledger.ledger, "POLICY_SECONDS", 0.0)
    some_of_each(academy, 1)
    gc.collect()
    for number in range(2, 5):
        some_of_each(academy, number)
    assert gc.collect() == 0
