"""Desyncs of every kind, on an academy's adopted database: mended, and the log says the same as the tables."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ops.oracle import Record
from schemas.events import LEVEL_COMMANDS
from sinks.coupling.desyncs import Kind
from sinks.coupling.plans import Scope, Side
from sinks.database import connector
from sinks.migration import migrate_to_head
from sinks.outbox import LANES, delete, take
from streams.sync import sync
from tests.coupling.stand import Stand
from tests.oracle.academy_log import Academy, command

PARTED: dict[Kind, str] = {
    "level_mismatch": "UPDATE user_licenses SET current_level = 7 WHERE id = %s",
    "level_above_maximum": "UPDATE user_licenses SET current_level = 11 WHERE id = %s",
    "highest_below_current": "UPDATE user_licenses SET max_achieved_level = 1 WHERE id = %s",
}
"""What somebody does after the adoption to a user at level 4; the other kinds lose what no log gives back."""


@pytest.fixture
def academy(legacy_url: str) -> Iterator[Academy]:
    migrate_to_head(legacy_url)
    academy = Academy(legacy_url)
    yield academy
    academy.close()


def mend(academy: Academy, source: Side) -> int:
    connect = connector(academy.url, name="sync-test")
    items = sync(connect, academy.ledger, Scope(), source, actor="otto", origin="cli")
    assert {item.outcome for item in items} == {"synced"}
    return len(items)


def relay(academy: Academy) -> None:
    """Put what was applied at once on its topic, as a relay does."""
    log = academy.topics.records[LEVEL_COMMANDS, 0]
    with closing(connector(academy.url, name="relay-test")()) as connection, connection, connection.cursor() as cursor:
        rows = take(cursor, range(LANES), 1_000)
        delete(cursor, [row.id for row in rows])
    for message in (message for row in rows for message in row.messages if message.topic == LEVEL_COMMANDS):
        assert message.key is not None
        now_ms = int(time.time() * 1_000)
        log.append(Record(LEVEL_COMMANDS, 0, len(log), message.key.encode(), bytes(message.value), now_ms))


@pytest.mark.parametrize("source", ["progress", "license"])
def test_the_academys_own_desyncs_once_mended_are_what_the_log_says(academy: Academy, source: Side) -> None:
    adopted = academy.verify()
    assert adopted.differences == []
    assert mend(academy, source) > 2
    given = academy.verify()
    assert given.differences == []
    relay(academy)
    report = academy.verify()
    assert (report.differences, report.unverifiable) == ([], adopted.unverifiable), "each repair is decided again"
    academy.deliver()
    assert academy.verify().differences == []
    with closing(Stand(academy.url)) as stand:
        assert stand.desyncs() == []


@pytest.mark.parametrize("source", ["progress", "license"])
@pytest.mark.parametrize("kind", PARTED)
def test_what_somebody_parted_since_is_once_mended_what_the_log_says(
    academy: Academy, kind: Kind, source: Side
) -> None:
    mend(academy, "progress")
    academy.tell(LEVEL_COMMANDS, command(900_001, "exam", new_level=4, xp_change=100))
    with closing(Stand(academy.url)) as stand:
        ((license_,),) = stand.run("SELECT id FROM user_licenses WHERE user_id = 900001")
        academy.tamper(PARTED[kind].replace("%s", str(license_)))
        (found,) = stand.desyncs()
    assert kind in found.kinds
    assert academy.verify().differences != []
    assert mend(academy, source) == 1
    relay(academy)
    assert academy.verify().differences == []
