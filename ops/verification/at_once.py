"""What was applied at once, by HTTP or by a command, and has no coordinates: its records, as its topics hold them since."""

from collections.abc import Collection, Mapping
from typing import Final

from ops.oracle import Record, Unreadable, event_key, read
from ops.verification.log import Partition, Reader
from ops.verification.shelf import Shelf
from ops.verification.snapshot import MICROSECONDS, Snapshot

TOPICS: Final = ("level-commands", "credit-transfers")

RECORDED: Final = f"""
SELECT event_key, {MICROSECONDS.format("occurred_at")} FROM reward_receipts
 WHERE topic IS NULL AND corrects IS NULL AND origin IN ('http', 'cli') AND {{share}}
"""

KEPT: Final = 5_000


def shelf_of_records() -> Shelf[Record]:
    """For records by event key."""
    return Shelf(("event_key",), tuple, Record._make, KEPT)


def fetch_applied_at_once(snapshot: Snapshot) -> Shelf[int]:
    """What was applied at once, by event key: when it occurred, in microseconds."""
    recorded = Shelf[int](("event_key",), int, int, KEPT)
    for *key, occurred_us in snapshot.stream(RECORDED.format(share=snapshot.share.sql("user_id"))):
        recorded[tuple(key)] = occurred_us
    return recorded


def find_records(
    recorded: Shelf[int],
    reader: Reader,
    partitions: Collection[Partition],
    specializations: Mapping[str, object],
) -> Shelf[Record]:
    """By event key, the record that the outbox sent for each of `recorded`, where `reader` has it.

    It carries the very moment that the receipt does; another event under the same key was refused as a conflict.
    """
    found = shelf_of_records()
    for where in partitions:
        while (record := reader.next(where)) is not None:
            try:
                fact = read(record.topic, record.key, record.value, record.timestamp_ms, specializations)
            except Unreadable:
                continue
            key = (event_key(fact),)
            if recorded.get(key) == fact.occurred_us and found.get(key) is None:
                found[key] = record
    return found
