"""Holds what a record comes to, as the oracle tells, against its receipt and its dead letter."""

from hashlib import md5
from typing import Any, Final

from ops.oracle import Outcome, Record
from ops.oracle.state import Receipt
from ops.verification.report import Difference, EventAt, Report
from ops.verification.snapshot import LetterRow, ReceiptRow

FINAL: Final = frozenset({"conflict", "empty_command", "invalid_level", "negative_total"})


class Outcomes:
    """The comparison of receipts and dead letters, one by one. What differs goes to `report`."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def compare(
        self,
        record: Record,
        outcome: Outcome,
        receipt: ReceiptRow | None,
        letter: LetterRow | None,
        user_id: int | None = None,
    ) -> None:
        """Compare what the record comes to with the receipt that names it, and the dead letter at its coordinates."""
        if outcome.kind == "dead_letter" or letter is not None:
            self._compare_letter(record, outcome, letter, user_id)
        expected = outcome.receipt
        if receipt is None:
            if expected is not None:
                self._report.differences.append(
                    Difference(
                        "reward_receipts",
                        expected.event_key,
                        _plain(expected),
                        None,
                        event_of(record),
                        expected.user_id,
                    )
                )
        elif expected is None:
            self.differ_receipt(receipt, None, outcome.reason or outcome.kind)
        else:
            self.compare_receipt(expected, receipt, record)

    def compare_receipt(self, expected: Receipt, receipt: ReceiptRow, record: Record | None) -> None:
        """Compare a receipt with the one that is expected, of `record` if it is of any."""
        _, event_key, user_id, corrects, revision, _, ruleset, _, _, _, _, grant, occurred_us = receipt
        found = Receipt(event_key, user_id, corrects, revision, ruleset, occurred_us, grant)
        if expected.ruleset is None:
            expected = expected._replace(ruleset=ruleset)
        same = expected == found or (expected[:-1] == found[:-1] and _sorted(expected.grant) == _sorted(grant))
        if not same:
            wanted, got = _plain(expected), _plain(found)
            fields = [name for name in wanted if wanted[name] != got[name]]
            self._report.differences.append(
                Difference(
                    "reward_receipts",
                    receipt.event_key,
                    {name: wanted[name] for name in fields},
                    {name: got[name] for name in fields},
                    None if record is None else event_of(record),
                    receipt.user_id,
                )
            )

    def differ_receipt(self, receipt: ReceiptRow, expected: Any, found: Any) -> None:
        """Note that the receipt should not be there, where nothing is expected, or that what it names is not."""
        at = None
        if receipt.topic is not None and receipt.partition is not None and receipt.offset is not None:
            at = EventAt(receipt.topic, receipt.partition, receipt.offset)
        if expected is None:
            found = {"receipt": receipt.event_key, "but the event is": found}
        self._report.differences.append(
            Difference("reward_receipts", receipt.event_key, expected, found, at, receipt.user_id)
        )

    def differ_letter(self, at: EventAt, expected: Any, found: Any, user_id: int | None) -> None:
        """Note that the dead letter at these coordinates is not as expected: None is none at all."""
        key = f"{at.topic}[{at.partition}]@{at.offset}"
        self._report.differences.append(Difference("dead_letters", key, expected, found, at, user_id))

    def _compare_letter(self, record: Record, outcome: Outcome, letter: LetterRow | None, user_id: int | None) -> None:
        at = event_of(record)
        self._report.count("dead_letters")
        if outcome.kind != "dead_letter":
            if letter is not None and letter.status not in ("retried", "dropped"):
                self.differ_letter(at, None, letter.reason, user_id)
            return
        if letter is None:
            self.differ_letter(at, outcome.reason, None, user_id)
            return
        expected: list[Any] = [outcome.reason, _statuses(outcome.reason)]
        found: list[Any] = [letter.reason, letter.status]
        if letter.reason != outcome.reason or letter.status not in _statuses(outcome.reason):
            self.differ_letter(at, expected, found, user_id)
        elif letter.digest is not None and letter.digest != _digest(record.value):
            self.differ_letter(at, "the record's own bytes", "other bytes", user_id)


def event_of(record: Record) -> EventAt:
    """Where the record stands."""
    return EventAt(record.topic, record.partition, record.offset)


def _statuses(reason: str) -> tuple[str, ...]:
    return ("final", "dropped") if reason in FINAL else ("open", "dropped")


def _digest(value: bytes | None) -> str | None:
    return None if value is None else md5(value, usedforsecurity=False).hexdigest()


def _plain(receipt: Receipt) -> dict[str, Any]:
    plain = receipt._asdict()
    plain["grant"] = _sorted(receipt.grant)
    return plain


def _sorted(grant: dict[str, Any]) -> dict[str, Any]:
    """The grant with its lists in an order of their own: which entry stands first means nothing."""
    return {
        name: sorted(value, key=repr) if isinstance(value, list) and name != "counted" else value
        for name, value in grant.items()
    }
