"""The demo season: played, waited for, and proved."""

import contextlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from time import monotonic
from typing import Any, Final

import psycopg2
from msgspec import Struct
from psycopg2.extensions import connection as Connection

from ops.season import SeasonSpec, generate_season
from ops.supervision import Supervisor
from ops.verify import verify
from schemas.client import Publisher
from schemas.errors import LaurelsError
from schemas.events import EVENT_TOPICS
from schemas.settings import Settings
from sinks.progress import fetch_next_offsets, fetch_now, fetch_tally
from streams.logs import Logs

SEASON: Final = SeasonSpec(poison=0.002)
"""Two hundred users, twenty tournaments, a hundred sessions; some events twice, some corrected, a few broken."""
PATIENCE_SECONDS: Final = 60.0
"""How long recording may stand still before something must be wrong."""

Say = Callable[[str], None]


class Summary(Struct, kw_only=True):
    """What a season came to. Published = recorded + duplicates + dead letters."""

    published: int
    recorded: int
    duplicates: int
    dead_letters: int
    differences: int
    seconds: float


class Demo:
    """Plays the season on the services that `settings` name, while `supervisor` watches them."""

    def __init__(self, settings: Settings, supervisor: Supervisor, say: Say) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._say = say
        self._client: dict[str, Any] = settings.librdkafka()
        self._logs = Logs(self._client, prefix=settings.topic_prefix)

    def play(self) -> Summary:
        """Publish, wait until all of it is recorded, verify."""
        with closing(psycopg2.connect(self._settings.database_url)) as connection:
            connection.autocommit = True
            self._wait_until_recorded(connection)
            with connection.cursor() as cursor:
                since = fetch_now(cursor)
            began = monotonic()
            published = self._publish()
            self._wait_until_recorded(connection)
            seconds = monotonic() - began
            return self._sum_up(connection, since, published, seconds)

    def _publish(self) -> int:
        published = Counter[str]()
        settings = self._settings
        with Publisher(
            settings.bootstrap_servers, source="/demo", topic_prefix=settings.topic_prefix, config=self._client
        ) as publisher:
            for number, line in enumerate(generate_season(SEASON)):
                publisher.send(line.topic, line.key, line.value, name=f"{line.topic} {number}")
                published[line.topic] += 1
        shown = ", ".join(f"{count:,} {topic}" for topic, count in published.items())
        self._say(f"published {published.total():,} events: {shown}")
        return published.total()

    def _wait_until_recorded(self, connection: Connection) -> None:
        """Until every position is at the end of its log."""
        left = self._unrecorded(connection)
        deadline = monotonic() + PATIENCE_SECONDS
        while left:
            self._supervisor.check()
            if monotonic() > deadline:
                raise LaurelsError(f"nothing was recorded for {PATIENCE_SECONDS:.0f} s, and {left:,} events wait")
            with contextlib.suppress(LaurelsError):
                self._supervisor.wait(lambda: False, "a moment", seconds=0.3)
            now = self._unrecorded(connection)
            if now != left:
                deadline = monotonic() + PATIENCE_SECONDS
                left = now
                self._say(f"{left:,} events wait to be recorded")

    def _unrecorded(self, connection: Connection) -> int:
        with connection.cursor() as cursor:
            recorded = fetch_next_offsets(cursor, self._settings.group)
        left = 0
        for where, log in self._logs.states(self._logs.partitions(EVENT_TOPICS)).items():
            log_id, offset = recorded.get(where, ("", 0))
            left += log.end_offset - (offset if log_id == log.log_id else log.start_offset)
        return left

    def _sum_up(self, connection: Connection, since: datetime, published: int, seconds: float) -> Summary:
        with connection.cursor() as cursor:
            tally = fetch_tally(cursor, since)
        self._say(f"recorded {tally.recorded:,}; folding the topics again to compare every row")
        settings = self._settings
        report = verify(settings.database_url, self._client, group=settings.group, prefix=settings.topic_prefix)
        for difference in report.differences[:10]:
            self._say(
                f"differs: {difference.table} {difference.key}: expected {difference.expected}, found {difference.found}"
            )
        return Summary(
            published=published,
            recorded=tally.recorded,
            duplicates=published - tally.recorded - tally.dead_letters,
            dead_letters=tally.dead_letters,
            differences=len(report.differences),
            seconds=round(seconds, 3),
        )
