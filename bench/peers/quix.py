"""The Quix Streams peer: its own Postgres sink lands one row per event, and does nothing else.

No reward is decided, no balance kept, nothing is recorded twice or refused: at least once into one table a topic.
"""

import logging
from typing import Final
from urllib.parse import unquote, urlsplit

from bench.errors import BenchFailed
from bench.workload import TOPICS
from schemas.settings import load_settings

COMMIT_SECONDS: Final = 0.2
"""Its default is 5 s. A commit a batch is what a worker does, and leaves no long wait after the last event."""


def main() -> None:
    """Run the application until the process is told to stop."""
    try:
        from quixstreams import Application  # noqa: PLC0415  only this peer needs it
        from quixstreams.sinks.community.postgresql import PostgreSQLSink  # noqa: PLC0415
    except ImportError as error:
        raise BenchFailed(f"Quix Streams is not installed: pip install 'quixstreams[postgresql]' ({error})") from error
    settings = load_settings()
    database = urlsplit(settings.database_url)
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
    application = Application(
        broker_address=settings.bootstrap_servers,
        consumer_group=f"{settings.topic_prefix}{settings.group}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_interval=COMMIT_SECONDS,
        commit_every=settings.batch_events,
        loglevel="WARNING",
    )
    for name in TOPICS:
        topic = application.topic(settings.topic_prefix + name, value_deserializer="json", key_deserializer="str")
        sink = PostgreSQLSink(
            host=database.hostname or "127.0.0.1",
            port=database.port or 5432,
            dbname=database.path.removeprefix("/"),
            user=unquote(database.username or ""),
            password=unquote(database.password or ""),
            table_name=table_of(name),
        )
        application.dataframe(topic).sink(sink)
    application.run()


def table_of(topic: str) -> str:
    """The table that a topic's events land in."""
    return f"quix_{topic.replace('-', '_')}"


if __name__ == "__main__":
    main()
