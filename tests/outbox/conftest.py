"""An outbox to write to, and a topic to see what arrives."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from tests.outbox.desk import Desk, delete_topics, make_topic


@pytest.fixture
def desk(database_url: str, bootstrap_servers: str, namespace: str) -> Iterator[Desk]:
    topic = f"{namespace}-entries"
    make_topic(bootstrap_servers, topic)
    with closing(psycopg2.connect(database_url)) as connection:
        yield Desk(database_url, bootstrap_servers, topic, connection)
    delete_topics(bootstrap_servers, [topic])
