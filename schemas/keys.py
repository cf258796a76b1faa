"""The one place that makes idempotency keys: `{source_type}_{source_id}_{operation}_{user_id}`.

Every key comes from what the event is about, never from where or when it was read, so that a redelivery, a replay and a
restored database all arrive at the same one. A correction appends `_r{revision}`, an adjustment to other rules `_a{run}`.
"""

from typing import Literal

SourceType = Literal["tournament", "session", "command", "transfer", "enrollment"]
Operation = Literal[
    "result", "presence", "level", "transfer", "reward", "xp", "attendance", "attendance_bonus", "debit", "credit",
    "payment", "refund",
]  # fmt: skip


def make_key(
    source_type: SourceType,
    source_id: int | str,
    operation: Operation,
    user_id: int,
    *,
    revision: int | None = None,
    reversal: bool = False,
    run: str | None = None,
) -> str:
    """The key of one operation on one source for one user; `revision` only for corrections, `run` for adjustments."""
    key = f"{source_type}_{source_id}_{operation}_{user_id}"
    if run is not None:
        return adjusted_key(key, run)
    if revision is not None:
        key = f"{key}_r{revision}_reversal" if reversal else f"{key}_r{revision}"
    return key


def adjusted_key(base_key: str, run: str) -> str:
    """The key under which `run` adjusts what stands under `base_key`."""
    return f"{base_key}_a{run}"


def adjusting_run(event_key: str, corrects: str | None) -> str | None:
    """The run that made the receipt with this key, None where an event did. Keys end in a user or a revision otherwise."""
    if corrects is None or not event_key.startswith(prefix := adjusted_key(corrects, "")):
        return None
    return event_key.removeprefix(prefix)


def transfer_source(sender_id: int, idempotency_key: str) -> str:
    """The source id of a transfer: its key is only unique within its sender."""
    return f"{sender_id}-{idempotency_key}"
