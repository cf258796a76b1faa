"""Logs say what happened and keep secrets to themselves."""

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest
import structlog

from schemas.errors import LaurelsError
from schemas.logs import configure_logging, redact
from schemas.settings import Settings
from streams.logs import Logs

PATIENCE_SECONDS = 60


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://laurels:hunter2@host/db", "postgresql://laurels:***@host/db"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer ***"),
        ("sasl.password=hunter2 sasl.username=me", "sasl.password=*** sasl.username=me"),
        ("http://host:8000/path@x", "http://host:8000/path@x"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_inside_a_text_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_json_logs_are_one_object_per_line_for_our_lines_and_the_libraries(stream: io.StringIO) -> None:
    configure_logging("json", "info", stream=stream)
    structlog.get_logger("laurels").info("recorded", events=3)
    logging.getLogger("faust").warning("joined %s", "postgresql://u:hunter2@h")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["events"], ours["level"], ours["logger"]) == ("recorded", 3, "info", "laurels")
    assert theirs["event"] == "joined postgresql://u:***@h"
    assert theirs["level"] == "warning"


def test_secrets_are_hidden_by_name_and_in_tracebacks(stream: io.StringIO) -> None:
    configure_logging("json", "info", stream=stream)
    log = structlog.get_logger("laurels")
    log.info("asked", headers={"Authorization": "x"}, sasl_password="hunter2", urls=["amqp://u:hunter2@h"])
    try:
        int("cannot reach postgresql://u:hunter2@h")
    except ValueError:
        log.exception("failed")
    assert "cannot reach postgresql://u:***@h" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_levels_below_the_wanted_one_are_not_written(stream: io.StringIO) -> None:
    configure_logging("console", "warning", stream=stream)
    structlog.get_logger("laurels").info("quiet")
    structlog.get_logger("laurels").warning("loud", topic="t")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_what_kafkas_client_logs_is_a_line_like_ours_and_nothing_else_is_written(
    stream: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json", "info", stream=stream)
    logs = Logs(Settings(kafka="127.0.0.1:1").librdkafka(), timeout_seconds=0.2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not stream.getvalue():
        assert time.monotonic() < deadline
        with pytest.raises(LaurelsError):
            logs.cluster_id()
    line = json.loads(stream.getvalue().splitlines()[0])
    assert (line["logger"], line["level"]) == ("librdkafka", "error")
    assert "127.0.0.1:1" in line["event"]
    assert capfd.readouterr().err == ""
