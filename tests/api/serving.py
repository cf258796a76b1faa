"""A real server on a database of its own, and clients of every role."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, get_args

import httpx
import psycopg2
import uvicorn

from api.app import create_app
from schemas.settings import Settings
from sinks.tokens import Role, create_token

NOWHERE = "127.0.0.1:1"
"""No broker is here."""


class Served:
    """The API as its callers see it, and the database behind it."""

    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self.database_url = database_url
        self.tokens = {role: self.token(role) for role in get_args(Role)}

    def token(self, role: Role, *, expires_at: datetime | None = None) -> str:
        with closing(psycopg2.connect(self.database_url)) as connection, connection, connection.cursor() as cursor:
            return create_token(cursor, name=f"a {role}", role=role, expires_at=expires_at, actor="a test")[1]

    def client(self, token: str | None = None, *, role: Role | None = None) -> httpx.Client:
        given = self.tokens[role] if role else token
        limits = httpx.Limits(max_connections=64)
        headers = {} if given is None else {"Authorization": f"Bearer {given}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, limits=limits)

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def rich(self, *users: int, credits: int = 1_000) -> None:
        """Users who came with credits."""
        for user in users:
            self.query(
                "INSERT INTO users (id, credit_balance, opening_credits) VALUES (%s, %s, %s)", user, credits, credits
            )

    def credits(self) -> dict[int, int]:
        return dict(self.query("SELECT id, credit_balance FROM users"))


@contextmanager
def serving(
    database_url: str, servers: str = NOWHERE, *, served_by: str | None = None, **settings: Any
) -> Iterator[Served]:
    """Serve on any free port, in a thread; `served_by` is the URL of another login to the database."""
    given = {"http_requests_per_second": 100_000, "http_burst": 100_000, **settings}
    app = create_app(Settings(database=served_by or database_url, kafka=servers, **given))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", database_url)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
