"""Shares that each process proves add up to the whole, or are refused: `Academy.verify` holds both against each other."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from ops.verification.report import Difference, Report
from ops.verification.share import Share
from ops.verification.shares import agree
from ops.verification.snapshot import Snapshot
from ops.verification.verification import Proof, Verification
from schemas.events import CREDIT_TRANSFERS, SESSION_ATTENDANCE
from sinks.database import connector
from tests.oracle.academy_log import Academy, named, presence, transfer

SHARES = 2


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    """Users 1 and 2 pay each other, and what one got decides what they can pay; user 3 was only ever promised something."""
    academy = Academy(database_url)
    academy.tell(SESSION_ATTENDANCE, *[presence(1, session) for session in range(1, 12)], b"{")
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "a"), transfer(2, 1, 25, "b"), transfer(2, 3, 25, "dear"))
    yield academy
    academy.close()


def prove(academy: Academy, snapshot: Snapshot) -> list[Proof]:
    proofs = []
    for number in range(SHARES):
        connect = connector(academy.url, name="test")
        with closing(Snapshot(connect, Share(number, SHARES), snapshot.export())) as seen:
            proofs.append(Verification(seen, academy.topics, "laurels").prove())
    return proofs


DIFFERENCE = Difference("users", "user 1", {}, {})
DOCTORINGS: dict[str, tuple[int, Callable[[Proof], Proof]]] = {
    "a difference": (0, lambda proof: proof._replace(report=Report(differences=[DIFFERENCE]))),
    "more given than taken": (1, lambda proof: proof._replace(given={2: 31})),
    "less taken than given": (0, lambda proof: proof._replace(taken={})),
    "given to nobody": (0, lambda proof: proof._replace(given=proof.given | {98: 0})),
    "another digest": (1, lambda proof: proof._replace(digests=proof.digests | {1: 1})),
    "no digest": (1, lambda proof: proof._replace(digests={})),
    "a dead letter that no record met": (1, lambda proof: proof._replace(letters=0)),
    "a dead letter that two records met": (0, lambda proof: proof._replace(letters=1)),
}


@pytest.mark.parametrize("what", DOCTORINGS)
def test_shares_that_do_not_add_up_are_refused(academy: Academy, what: str) -> None:
    with (
        closing(Snapshot(connector(academy.url, name="test"))) as snapshot,
        closing(snapshot.digests()) as digests,
    ):
        proofs = prove(academy, snapshot)
        assert agree(proofs, snapshot, digests) is not None
        number, doctor = DOCTORINGS[what]
        proofs[number] = doctor(proofs[number])
        assert agree(proofs, snapshot, digests) is None


@pytest.mark.parametrize(
    ("tampering", "differs"),
    [
        ("DELETE FROM users WHERE id = 3", ("users", "user 3")),
        ("UPDATE users SET credit_balance = 6 WHERE id = 2", ("users", "user 2")),
        (
            "DELETE FROM credit_transactions WHERE transaction_type = 'TRANSFER_IN' AND user_id = 2",
            ("credit_transactions", "transfer_1-a_credit_2"),
        ),
        ("DELETE FROM credit_transfers WHERE idempotency_key = 'b'", ("credit_transfers", "transfer_2-b_transfer_2")),
    ],
)
def test_what_crosses_shares_is_proved_too(academy: Academy, tampering: str, differs: tuple[str, str]) -> None:
    assert academy.verify().differences == []
    academy.tamper(tampering)
    assert named(academy.verify().differences) == [differs]


def test_a_receipt_that_gives_more_than_its_event_is_found_by_the_share_of_its_event(academy: Academy) -> None:
    academy.tamper(
        """UPDATE reward_receipts SET "grant" = replace("grant"::text, '30, 2', '31, 2')::jsonb"""
        " WHERE event_key = 'transfer_1-a_transfer_1'"
    )
    assert ("reward_receipts", "transfer_1-a_transfer_1") in named(academy.verify().differences)
