"""A database, the ledger on it, and anybody's plain SQL."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2

from schemas.events import LevelCommand
from schemas.rewards import Decision
from sinks.coupling.desyncs import Desync, find_desyncs
from sinks.coupling.plans import Item, Scope, Side
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from streams import rules
from streams.direct import apply_at_once
from streams.sync import sync

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
PROGRESS = "INSERT INTO specialization_progress (student_id, specialization_id, current_level, level_adjustment) "
LICENSE = "INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level) "


class Stand:
    """Everything a test of coupling needs of one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connect = connector(url, name="coupling-test")
        self.ledger = self.open_ledger()

    def open_ledger(self) -> Ledger:
        return Ledger(self.connect, rules, Identity("", ""))

    def close(self) -> None:
        self.ledger.close()

    def command(self, user_id: int, command_id: str, ledger: Ledger | None = None, **changes: Any) -> Decision:
        """Apply a level command at once."""
        event = LevelCommand(command_id=command_id, user_id=user_id, occurred_at=AT, **changes)
        return apply_at_once(ledger or self.ledger, event, "cli")

    def run(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run anybody's plain SQL, in one transaction."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def desyncs(self) -> list[Desync]:
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            return find_desyncs(cursor)

    def sync(self, scope: Scope, source: Side = "progress") -> list[Item]:
        return sync(self.connect, self.ledger, scope, source, actor="otto", origin="cli", reason="by test")

    def levels(self, user_id: int, specialization: str = "PLAYER") -> tuple[int | None, int | None]:
        """The level of progress and of license."""
        ((progress, license_),) = self.run(
            "SELECT (SELECT current_level FROM specialization_progress WHERE (student_id, specialization_id) = (%s, %s)),"
            " (SELECT current_level FROM user_licenses WHERE (user_id, specialization_type) = (%s, %s))",
            *(user_id, specialization, user_id, specialization),
        )
        return progress, license_

    def progressions(self, user_id: int) -> list[tuple[int, int]]:
        """The level changes of the user, in order."""
        return self.run(
            "SELECT from_level, to_level FROM license_progressions JOIN user_licenses AS license"
            " ON license.id = user_license_id WHERE user_id = %s ORDER BY license_progressions.id",
            user_id,
        )

    def part(self, user_id: int, specialization: str, progress: int | None, license_: int | None) -> None:
        """Make a user whose progress and license stand at these levels, as plain SQL leaves them."""
        self.run("INSERT INTO users (id) VALUES (%s) ON CONFLICT DO NOTHING", user_id)
        if progress is not None:
            self.run(PROGRESS + "VALUES (%s, %s, %s, %s)", user_id, specialization, progress, progress - 1)
        if license_ is not None:
            self.run(LICENSE + "VALUES (%s, %s, %s, %s)", user_id, specialization, license_, license_)
