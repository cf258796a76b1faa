import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from ops.cli import main
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS
from tests.oracle.academy_log import Academy, command, presence, result, transfer

Laurels = Callable[..., Any]


class Past(Academy):
    """An academy whose database can be asked and tampered with."""

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as the tables' owner."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def tamper_unseen(self, *statements: str) -> None:
        """Change rows with every trigger off, and leave the triggers as they were."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal")
            triggers = cursor.fetchall()
            for table, name, _ in triggers:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table, name, enabled in triggers:
                how = {"A": "ENABLE ALWAYS", "O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA"}[enabled]
                cursor.execute(f"ALTER TABLE {table} {how} TRIGGER {name}")


@pytest.fixture
def past(database_url: str) -> Iterator[Past]:
    """Some history of two users, with every kind of row and every kind of word."""
    academy = Past(database_url)
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 1, skills=[{"name": "passing"}]), result(2, 10, 2), b"no event")
    academy.tell(SESSION_ATTENDANCE, presence(1, 20), presence(2, 20))
    academy.tell(LEVEL_COMMANDS, command(1, "c", new_level=4, reason="she moved up a class"))
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "k", memo="for Anna"), transfer(2, 1, 5, "k", memo="back"))
    yield academy
    academy.close()


@pytest.fixture
def laurels(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Laurels:
    """Run a command with `--json`; its exit code and what it printed (lines, where it is no JSON)."""
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as exit_:
            main([*arguments, "--json"])
        printed = capsys.readouterr().out
        try:
            return int(exit_.value.code or 0), json.loads(printed)
        except ValueError:
            return int(exit_.value.code or 0), printed

    return run
