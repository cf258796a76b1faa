"""The entries that a receipt demands, made again from its grant, under the keys that they were posted with."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from schemas.keys import Operation, SourceType, make_key

_OPERATIONS: dict[SourceType, Operation] = {
    "tournament": "result",
    "session": "presence",
    "command": "level",
    "transfer": "transfer",
}
_CREDIT_OPERATIONS: dict[str, Operation] = {
    "TOURNAMENT_REWARD": "reward",
    "SESSION_ATTENDANCE": "attendance",
    "ATTENDANCE_BONUS": "attendance_bonus",
    "TRANSFER_OUT": "debit",
    "TRANSFER_IN": "credit",
}


class Receipt(NamedTuple):
    """A receipt as Postgres holds it."""

    event_key: str
    seq: int
    user_id: int
    corrects: str | None
    revision: int
    grant: dict[str, Any]
    occurred_at: datetime


class Entry(NamedTuple):
    """A row that must be in an append-only table, or a badge. `key` names it, `values` are its columns but for those."""

    table: str
    key: tuple[Any, ...]
    user_id: int
    seq: int
    values: dict[str, Any]


def demanded(receipt: Receipt) -> Iterator[Entry]:
    """Every entry that `receipt` stands for, in the order in which they were posted."""
    kind, source_id = _source(receipt)
    revision = None if receipt.corrects is None else receipt.revision
    semester_id = int(source_id) if kind == "tournament" else None
    dated = {"receipt_seq": receipt.seq, "created_at": receipt.occurred_at}
    for type_, specialization, amount in receipt.grant.get("xp", ()):
        reversal = "_REVERSAL" in type_
        key = make_key(kind, source_id, "xp", receipt.user_id, revision=revision, reversal=reversal)
        values = {"transaction_type": type_, "amount": amount, "specialization_id": specialization}
        values |= {"user_id": receipt.user_id, "semester_id": semester_id, **dated}
        yield Entry("xp_transactions", (key,), receipt.user_id, receipt.seq, values)
    for type_, amount, *others in receipt.grant.get("credits", ()):
        owner = others[0] if others else receipt.user_id
        plain = type_ if revision is None else type_.removesuffix(f"_R{revision}")
        key = make_key(kind, source_id, _CREDIT_OPERATIONS[plain], owner, revision=revision)
        values = {"transaction_type": type_, "amount": amount, "user_id": owner, "semester_id": semester_id, **dated}
        yield Entry("credit_transactions", (key,), owner, receipt.seq, values)
    for skill, points in receipt.grant.get("skills", ()):
        type_ = kind.upper() if revision is None else f"{kind.upper()}_R{revision}"
        key_ = (receipt.user_id, type_, int(source_id), skill)
        yield Entry("skill_rewards", key_, receipt.user_id, receipt.seq, {"points_awarded": points, **dated})
    for specialization, before, after in receipt.grant.get("levels", ()):
        moved = {"from_level": before, "to_level": after, "advancement_reason": receipt.event_key}
        values = {**moved, "receipt_seq": receipt.seq, "advanced_at": receipt.occurred_at}
        moved_at = (receipt.user_id, specialization, receipt.seq)
        yield Entry("license_progressions", moved_at, receipt.user_id, receipt.seq, values)


def _source(receipt: Receipt) -> tuple[SourceType, str]:
    base = receipt.corrects or receipt.event_key
    for kind, operation in _OPERATIONS.items():
        end = f"_{operation}_{receipt.user_id}"
        if base.startswith(f"{kind}_") and base.endswith(end):
            return kind, base[len(kind) + 1 : -len(end)]
    message = f"{base} is no event key of ours"
    raise AssertionError(message)
