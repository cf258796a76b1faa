"""`laurels relay`: the outbox to Kafka, without a worker."""

import signal
from types import FrameType

import typer

from schemas.settings import load_settings
from sinks.database import connector
from streams.outage import configure_service_logging
from streams.relay import Relay


def register(app: typer.Typer) -> None:
    """Add `relay` to the command line."""
    app.command()(relay)


def relay() -> None:
    """Relay the outbox to Kafka until stopped.

    Every worker does so too; one relay at a time serves a lane, and the others stand by. Run one apart where workers
    come and go. Example: laurels relay
    """
    settings = load_settings()
    configure_service_logging(settings)
    connect = connector(settings.database_url, name="laurels relay")
    relay = Relay(connect, settings.librdkafka(), topic_prefix=settings.topic_prefix)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        relay.stop(timeout_seconds=0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    relay.run()
