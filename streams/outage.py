"""How a service tells of an outage of Kafka: in one line when nobody answers, and in one when somebody does again.

A client that cannot reach a broker says so a thousand times a minute, each client for itself. So nothing that clients
say is written before Kafka was asked. Where it does not answer, one line of ours stands for all of it; where it does,
they speak of something else, or of one broker among several.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from schemas.errors import LaurelsError
from schemas.logs import KAFKA_CLIENT, configure_logging
from schemas.settings import Settings
from streams.logs import Logs

CLIENTS: Final = (KAFKA_CLIENT, logging.getLogger("aiokafka"))
MOST_HELD: Final = 1_000
"""As much of what clients say waits for Kafka's answer: the latest."""
ANSWER_SECONDS: Final = 5.0
ASK_EVERY_SECONDS: Final = 1.0
REPEAT_SECONDS: Final = 60.0
"""What a client repeats is written so often."""
CONNECTION_LOST: Final = "FAIL"
"""librdkafka's name for what it says of a connection. It comes when the client is polled, which may be long after."""

log = structlog.get_logger()


def configure_service_logging(settings: Settings) -> None:
    """Log as `settings` say. Kafka's clients are heard by way of `Outages`; at level `debug` as they are."""
    written_by = configure_logging(settings.log_format, settings.log_level)
    if settings.log_level != "debug":
        outages = Outages(settings.librdkafka(), written_by)
        for client in CLIENTS:
            client.addHandler(outages)
            client.propagate = False


class Outages(logging.Handler):
    """Holds what clients of the Kafka behind `client_settings` say, and hands `written_by` what should be heard."""

    def __init__(self, client_settings: Mapping[str, Any], written_by: logging.Handler) -> None:
        super().__init__()
        self._settings = {**client_settings, "log_level": 0}
        self._written_by = written_by
        self._held: deque[logging.LogRecord] = deque(maxlen=MOST_HELD)
        self._said = threading.Event()
        self._away = False
        self._ended = threading.Event()
        self._written: dict[tuple[object, ...], float] = {}
        threading.Thread(target=self._run, name="outages", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hold it."""
        self._held.append(record)
        self._said.set()

    def close(self) -> None:
        """Write what Kafka was not asked about yet, which may say why the process ends; and ask no more."""
        self._ended.set()
        self._said.set()
        if not self._away:
            for record in self._take_held():
                self._write(record)
        super().close()

    def _run(self) -> None:
        while not self._ended.wait(ASK_EVERY_SECONDS):
            self._said.wait()
            self._said.clear()
            if not self._answers():
                self._outlast()
            for record in self._take_held():
                if not _tells_of_a_connection(record):
                    self._write(record)

    def _answers(self) -> bool:
        try:
            Logs(self._settings, timeout_seconds=ANSWER_SECONDS).cluster_id()
        except LaurelsError:
            return False
        return True

    def _outlast(self) -> None:
        if self._ended.is_set():
            return
        self._away = True
        began = time.monotonic()
        log.error("Kafka does not answer", said=next((record.getMessage() for record in self._take_held()), None))
        while not self._answers():
            self._held.clear()
            if self._ended.wait(ASK_EVERY_SECONDS):
                return
        self._held.clear()
        self._away = False
        log.info("Kafka answers again", away_seconds=round(time.monotonic() - began))

    def _take_held(self) -> list[logging.LogRecord]:
        """What is held, the oldest first, and is no longer."""
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._held.popleft())
        return taken

    def _write(self, record: logging.LogRecord) -> None:
        """Have it written, unless the same was said of the same thing just now."""
        now = time.monotonic()
        self._written = {said: at for said, at in self._written.items() if now - at < REPEAT_SECONDS}
        said = record.name, record.msg, _first_argument(record)
        if said not in self._written:
            self._written[said] = now
            self._written_by.handle(record)


def _tells_of_a_connection(record: logging.LogRecord) -> bool:
    return record.name == KAFKA_CLIENT.name and _first_argument(record) == CONNECTION_LOST


def _first_argument(record: logging.LogRecord) -> object:
    return record.args[0] if isinstance(record.args, tuple) and record.args else None
