"""The events that everything is measured with: a made-up season's results and attendance, as bytes, the same each time."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from aiokafka.partitioner import murmur2

from ops.season import SeasonSpec, generate_season
from schemas.events import SESSION_ATTENDANCE, TOURNAMENT_RESULTS

PARTITIONS: Final = 4
TOPICS: Final = (TOURNAMENT_RESULTS, SESSION_ATTENDANCE)
EVENTS_PER_USER: Final = 10
FEWEST_USERS: Final = 100

STRIDE: Final = 10
"""The workload's users are every tenth of the academy's, so that rows loaded before stand between theirs in every index."""

FIRST_SOURCE: Final = 1_000_001
"""Tournaments and sessions are numbered from here: what was loaded before has lower numbers, as it would in life."""

_TOURNAMENT_SIZE: Final = 18
_SESSION_SIZE: Final = 14
_USER: Final = re.compile(rb'"user_id":(\d+)')


class Record(NamedTuple):
    """One event as it stands on its topic."""

    topic: str
    partition: int
    key: bytes
    value: bytes


def users_of(events: int) -> int:
    """How many users the workload of so many events is about."""
    return max(FEWEST_USERS, events // EVENTS_PER_USER)


def make_workload(events: int) -> Iterator[Record]:
    """So many events in time order: tournament results and attendance half and half, 2 % of them corrections."""
    spec = SeasonSpec(
        users=users_of(events),
        tournaments=4 + int(events * 0.65 / _TOURNAMENT_SIZE),
        sessions=4 + int(events * 0.65 / _SESSION_SIZE),
        duplicates=0.0,
        corrections=0.02,
        first_id=FIRST_SOURCE,
    )
    lines = (line for line in generate_season(spec) if line.topic in TOPICS)
    for line in islice(lines, events):
        user = (int(line.key) - FIRST_SOURCE + 1) * STRIDE
        key = b"%d" % user
        partition = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
        yield Record(line.topic, partition, key, _USER.sub(b'"user_id":%s' % key, line.value or b"", count=1))
