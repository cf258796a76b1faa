"""Services tell of Kafka's outages in lines of their own, and let its clients speak where it answers."""

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from ops.embedded.child import free_port
from ops.embedded.tansu import Tansu
from schemas.errors import LaurelsError
from schemas.settings import Settings
from streams.logs import Logs
from streams.outage import CLIENTS, Outages, configure_service_logging

PATIENCE_SECONDS = 120

Service = Callable[[Settings], io.StringIO]

aiokafka = logging.getLogger("aiokafka.cluster")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Makes the test's process a service, as `settings` say, and gives what it writes on standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(settings: Settings) -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        configure_service_logging(settings)
        return written

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    for client in CLIENTS:
        for outages in held_by(client):
            outages.close()
            client.removeHandler(outages)
        client.propagate = True
    structlog.reset_defaults()


def held_by(client: logging.Logger) -> list[Outages]:
    return [handler for handler in client.handlers if isinstance(handler, Outages)]


def lines(stream: io.StringIO) -> list[tuple[str, str, str]]:
    told = map(json.loads, stream.getvalue().splitlines())
    return [(line["logger"], line["level"], line["event"]) for line in told]


def until(condition: Callable[[], bool], meanwhile: Callable[[], object] = bool) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.05)


def test_an_outage_is_told_in_one_line_and_its_end_in_one(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr("ops.embedded.tansu.free_port", lambda: port)
    broker = Tansu(tmp_path)
    settings = Settings(kafka=broker.start(), log_format="json")
    try:
        stream = service(settings)
        client = Logs(settings.librdkafka(), timeout_seconds=0.2)

        def complain() -> None:
            with pytest.raises(LaurelsError):
                client.cluster_id()
            aiokafka.error("Unable connect to node with id %s: %s", 1, "refused")

        broker.stop()
        until(lambda: len(lines(stream)) == 1, complain)
        for _ in range(5):
            complain()
        broker.start()
        until(lambda: len(lines(stream)) == 2)
        # What is said from now on is about something else.
        until(lambda: len(lines(stream)) == 3, lambda: aiokafka.error("Topic %s not found", "t"))
    finally:
        broker.stop()
    assert lines(stream) == [
        ("streams.outage", "error", "Kafka does not answer"),
        ("streams.outage", "info", "Kafka answers again"),
        ("aiokafka.cluster", "error", "Topic t not found"),
    ]
    assert str(port) in json.loads(stream.getvalue().splitlines()[0])["said"]


def test_what_a_client_repeats_while_kafka_answers_is_written_once_and_a_lost_connection_is_not(
    service: Service, bootstrap_servers: str
) -> None:
    stream = service(Settings(kafka=bootstrap_servers, log_format="json"))
    for _ in range(3):
        CLIENTS[0].error("%s [%s] %s", "FAIL", "rdkafka#1", "disconnected")
        aiokafka.error("Topic %s not found", "a")
    aiokafka.error("Topic %s not found", "b")
    until(lambda: len(lines(stream)) == 2)
    assert [event for _, _, event in lines(stream)] == ["Topic a not found", "Topic b not found"]


def test_what_kafka_was_not_asked_about_yet_is_written_when_the_process_ends(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.outage.ASK_EVERY_SECONDS", 10 * PATIENCE_SECONDS)
    stream = service(Settings(kafka="127.0.0.1:1", log_format="json"))
    (outages,) = held_by(CLIENTS[0])
    with closing(outages):
        CLIENTS[0].error("%s [%s] %s", "FAIL", "rdkafka#1", "Authentication failed")
    assert lines(stream) == [("librdkafka", "error", "FAIL [rdkafka#1] Authentication failed")]


def test_at_level_debug_clients_are_heard_as_they_are(service: Service) -> None:
    stream = service(Settings(kafka="127.0.0.1:1", log_format="json", log_level="debug"))
    aiokafka.debug("Topic %s found", "t")
    assert lines(stream) == [("aiokafka.cluster", "debug", "Topic t found")]
