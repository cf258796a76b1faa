"""The outbox's rows: bounded, in order, exact in what they hold, and part of the transaction that writes them."""

from collections.abc import Iterator
from contextlib import closing

import msgspec
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sinks import outbox
from sinks.outbox import LANES, MAX_ROW_BYTES, MAX_ROW_MESSAGES, OutboxMessage, OutboxRow
from tests.outbox.desk import NOW


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


@pytest.fixture
def cursor(connection: Connection) -> Iterator[Cursor]:
    with connection.cursor() as cursor:
        yield cursor


def message(id_: str, value: bytes = b"1") -> OutboxMessage:
    return OutboxMessage(topic="t", key="k", id=id_, type="test.v1", time=NOW, value=Raw(value))


def everything(cursor: Cursor) -> list[OutboxRow]:
    return outbox.take(cursor, range(LANES), 1_000)


def test_a_transaction_writes_a_row_per_lane_with_the_messages_in_order(cursor: Cursor) -> None:
    written = outbox.write_messages(cursor, [(user, message(f"{user}-{n}")) for n in range(3) for user in range(1, 7)])
    rows = everything(cursor)
    assert (written, outbox.backlog(cursor)) == (18, 18)
    assert [row.lane for row in rows] == [0, 1, 2, 3]
    assert [one.id for one in rows[1].messages] == ["1-0", "5-0", "1-1", "5-1", "1-2", "5-2"]


def test_rows_are_bounded_by_messages_and_by_bytes(cursor: Cursor) -> None:
    outbox.write_messages(cursor, [(4, message(str(n))) for n in range(2 * MAX_ROW_MESSAGES + 1)])
    assert [len(row.messages) for row in everything(cursor)] == [MAX_ROW_MESSAGES, MAX_ROW_MESSAGES, 1]
    cursor.connection.rollback()
    large = b'"%b"' % (b"x" * (MAX_ROW_BYTES // 2))
    huge = b'"%b"' % (b"x" * MAX_ROW_BYTES)
    outbox.write_messages(cursor, [(4, message(str(n), value)) for n, value in enumerate((large, large, huge, b"1"))])
    assert [[one.id for one in row.messages] for row in everything(cursor)] == [["0"], ["1"], ["2"], ["3"]]


def test_messages_go_and_stay_with_their_transaction(cursor: Cursor) -> None:
    outbox.write_messages(cursor, [(1, message("a"))])
    cursor.connection.rollback()
    assert outbox.backlog(cursor) == 0


def test_nothing_to_write_writes_nothing(cursor: Cursor) -> None:
    assert outbox.write_messages(cursor, []) == 0
    assert everything(cursor) == []


def test_rows_taken_and_not_yet_deleted_are_not_taken_again(cursor: Cursor) -> None:
    for n in range(3):
        outbox.write_messages(cursor, [(1, message(str(n))), (2, message(str(n)))])
    first = outbox.take(cursor, [1], 2)
    assert [row.messages[0].id for row in first] == ["0", "1"]
    assert [row.messages[0].id for row in outbox.take(cursor, [1], 9, [row.id for row in first])] == ["2"]
    outbox.delete(cursor, [row.id for row in first])
    assert [row.messages[0].id for row in outbox.take(cursor, [1], 9)] == ["2"]
    assert outbox.backlog(cursor) == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(value=json_values, spaced=st.booleans(), id_=st.text(min_size=1))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_a_message_holds_comes_out_as_it_went_in(
    cursor: Cursor, value: object, *, spaced: bool, id_: str
) -> None:
    encoded = msgspec.json.encode(value)
    if spaced:
        encoded = msgspec.json.format(encoded, indent=2).replace(b"\n", b"\r\n\t")
    outbox.write_messages(cursor, [(1, message(id_, encoded))])
    ((one,),) = [row.messages for row in everything(cursor)]
    cursor.connection.rollback()
    assert one.id == id_
    assert msgspec.json.decode(one.value) == value
