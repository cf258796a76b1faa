"""`laurels worker`: records what the topics bring, until SIGTERM."""

import asyncio
from typing import Annotated

import typer

from schemas.settings import load_settings
from streams import interpreter
from streams.outage import configure_service_logging
from streams.worker import Worker


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    *,
    relay: Annotated[bool, typer.Option(help="Relay the outbox to Kafka as well.")] = True,
) -> None:
    """Record what the topics bring, until SIGTERM.

    Start as many as there is work for: Kafka spreads the partitions over them. A worker creates no topic and no table.
    """
    settings = load_settings()
    configure_service_logging(settings)
    interpreter.prepare()

    async def work() -> None:
        await Worker(settings, relay=relay).run()

    asyncio.run(work())
