"""What was applied at once, by HTTP or by a command, and has no coordinates: its records, as its topics hold them since."""

from collections.abc import Collection, Mapping
from typing import Final

from ops.oracle import Record, Unreadable, event_key, read
from ops.verification.folding import Reader
from ops.verification.log import Partition
from ops.verification.snapshot import MICROSECONDS, Snapshot

TOPICS: Final = ("level-commands", "credit-transfers")

RECORDED = f"""
SELECT event_key, {MICROSECONDS.format("occurred_at")} FROM reward_receipts
 WHERE topic IS NULL AND corrects IS NULL AND origin IN ('http', 'cli')
"""


def fetch_applied_at_once(snapshot: Snapshot) -> dict[str, int]:
    """What was applied at once, by event key: when it occurred, in microseconds."""
    return dict(snapshot.stream(RECORDED))


def find_records(
    recorded: Mapping[str, int],
    reader: Reader,
    partitions: Collection[Partition],
    specializations: Mapping[str, object],
) -> dict[str, Record]:
    """By event key, the record that the outbox sent for each of `recorded`, where `reader` has it.

    It carries the very moment that the receipt does; another event under the same key was refused as a conflict.
    """
    found: dict[str, Record] = {}
    for where in partitions:
        while (record := reader.next(where)) is not None:
            try:
                fact = read(record.topic, record.key, record.value, record.timestamp_ms, specializations)
            except Unreadable:
                continue
            key = event_key(fact)
            if recorded.get(key) == fact.occurred_us:
                found.setdefault(key, record)
    return found
