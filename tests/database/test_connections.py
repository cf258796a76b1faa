"""Connections to Postgres: whom they outlast, and who closes them."""

from contextlib import suppress

import psycopg2

from sinks.database import Timeouts, connector, transaction


def test_a_server_that_is_there_no_more_is_noticed_in_time(database_url: str) -> None:
    """Without these a socket waits for a quarter of an hour for a machine that is gone."""
    with transaction(connector(database_url, name="noticing", timeouts=Timeouts(connect_seconds=7))) as cursor:
        told = cursor.connection.info.dsn_parameters
    bounds = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
    assert {name: told[name] for name in bounds} == {
        "connect_timeout": "7",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }


def test_a_transaction_commits_or_not_and_closes_its_connection_either_way(database_url: str) -> None:
    connect = connector(database_url, name="brief")
    with transaction(connect) as committed:
        committed.execute("INSERT INTO users (id) VALUES (1)")
    with suppress(psycopg2.Error), transaction(connect) as failed:
        failed.execute("INSERT INTO users (id) VALUES (2)")
        failed.execute("SELECT nothing")
    assert committed.connection.closed
    assert failed.connection.closed
    with transaction(connect) as cursor:
        cursor.execute("SELECT id FROM users")
        assert cursor.fetchall() == [(1,)]
