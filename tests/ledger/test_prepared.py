"""A session plans the ledger's statements once, so the plans must be good however little was there at the time."""

from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

import sinks.ledger
from sinks.prepared import PLAN_ONCE, Statement, execute

MODULES = ("sinks.positions", *(f"sinks.ledger.{module.name}" for module in iter_modules(sinks.ledger.__path__)))
STATEMENTS = {
    statement.name: statement
    for module in MODULES
    for statement in vars(import_module(module)).values()
    if isinstance(statement, Statement)
}


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    """A session that plans once, on a database in which nothing was recorded."""
    with closing(psycopg2.connect(database_url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(PLAN_ONCE)
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def query(session: Connection, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def test_no_statement_of_the_ledger_reads_a_table_that_is_empty_yet_from_end_to_end(session: Connection) -> None:
    whole = []
    with session.cursor() as cursor:
        for name, statement in STATEMENTS.items():
            cursor.execute(f"PREPARE {name} AS {statement.sql}")
            ((types,),) = query(
                session, "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = %s", name
            )
            cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name} ({', '.join(['NULL'] * types)})")
            (((root,),),) = cursor.fetchall()
            whole += [
                (name, node["Relation Name"])
                for node in nodes(root["Plan"])
                if "Relation Name" in node
                and node["Node Type"] != "ModifyTable"
                and "Index Cond" not in node
                and "Recheck Cond" not in node
            ]
    assert len(STATEMENTS) > 20
    assert whole == []


def test_a_statement_is_planned_once_and_stays_prepared_when_one_beside_it_fails(session: Connection) -> None:
    one = Statement("one", "SELECT $1::int + 1")
    divided = Statement("divided", "SELECT 1 / $1::int")
    with session.cursor() as cursor:
        for value in range(8):
            execute(cursor, (one, (value,)), (divided, (1,)))
            assert cursor.fetchall() == [(1,)]
            with pytest.raises(psycopg2.errors.DivisionByZero):
                execute(cursor, (one, (value,)), (divided, (0,)))
            session.rollback()
        execute(cursor, (divided, (1,)), (one, (1,)))
        assert cursor.fetchall() == [(2,)]
    counted = "SELECT name, custom_plans, generic_plans > 8 FROM pg_prepared_statements ORDER BY name"
    assert query(session, counted) == [("divided", 0, True), ("one", 0, True)]
