"""What the brokers we start have in common: how they are asked whether they are there."""

from pathlib import Path
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


class Broker(Protocol):
    """A broker that `laurels up` and the tests can start."""

    def start(self) -> str:
        """Start it and return its bootstrap servers."""

    def stop(self) -> None:
        """Stop it and everything it started."""

    def exit_code(self) -> int | None:
        """What ended it; None while it runs."""

    def last_words(self) -> str:
        """The end of its log."""


def brokers_answering(bootstrap_servers: str) -> int:
    """How many brokers of the cluster are registered; 0 where nobody answers."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return len(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return 0


def made(folder: Path) -> Path:
    """`folder`, which exists now."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
