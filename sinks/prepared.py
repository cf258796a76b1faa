"""Statements that a session plans once: planning them was a good part of what a batch of a few dozen events took.

Plans are kept from when tables may have been empty, so whoever prepares must not leave the planner a choice: see
`PLAN_ONCE`.
"""

from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

PLAN_ONCE: Final = """
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
"""
"""For a session whose every statement finds its rows by an index, a row at a time, however few rows there are yet."""


@dataclass(frozen=True, slots=True)
class Statement:
    """`sql` under a `name` of its own, its parameters written `$1`, `$2` and so on, each with its type."""

    name: str
    sql: str


Call = tuple[Statement, tuple[object, ...]]

_prepared: WeakKeyDictionary[Connection, set[str]] = WeakKeyDictionary()


def execute(cursor: Cursor, *calls: Call) -> None:
    """Execute the statements in one round trip, in their order. The cursor holds the rows of the last one."""
    known = _prepared.setdefault(cursor.connection, set())
    for statement, _ in calls:
        if statement.name not in known:
            # By itself: were it sent with what may fail, it could be there without our knowing.
            cursor.execute(f"PREPARE {statement.name} AS {statement.sql}")
            known.add(statement.name)
    texts = []
    for statement, parameters in calls:
        places = ", ".join(["%s"] * len(parameters))
        texts.append(f"EXECUTE {statement.name} ({places})")
    cursor.execute("; ".join(texts), [value for _, parameters in calls for value in parameters])
