"""Who ordered a level change that is gone, and why: its row said so, and so does the command on its topic."""

from collections.abc import Sequence
from contextlib import closing

from ops.verification.log import KafkaTopics, Stretch
from ops.verification.snapshot import Snapshot
from schemas.events import LEVEL_COMMANDS, LevelCommand
from schemas.parse import parse
from schemas.payload import payload_hash
from sinks.repair.entries import Entry, fetch_commands
from streams import rules


def find_orders(snapshot: Snapshot, topics: KafkaTopics, group: str, entries: Sequence[Entry]) -> None:
    """Give the level changes among `entries` what the command that caused them says, as far as its topic holds it.

    Commands that were applied at once stand anywhere on the topic, so that all of it is read, and those wanted are kept.
    """
    changes = {entry.seq: entry for entry in entries if entry.table == "license_progressions"}
    if not changes:
        return
    with snapshot.cursor() as cursor:
        wanted = fetch_commands(cursor, changes.keys())
    if not wanted:
        return
    partitions = [(at.topic, at.partition) for at in snapshot.positions(group) if at.topic == LEVEL_COMMANDS]
    stretches = {
        where: Stretch(state.start_offset, state.end_offset) for where, state in topics.states(partitions).items()
    }
    levels = snapshot.levels()
    with closing(topics.read(stretches)) as reader:
        for where in stretches:
            while wanted and (record := reader.next(where)) is not None:
                event = parse(record.topic, record.key, record.value, record.timestamp_ms, levels)
                if not isinstance(event, LevelCommand):
                    continue
                seq = wanted.pop((rules.base_key(event), payload_hash(event)), None)
                if seq is not None:
                    said = {"advanced_by": event.advanced_by, "advancement_reason": event.reason}
                    changes[seq].values.update(said)
