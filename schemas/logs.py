"""Structured logs: one line per happening, for people or for machines, with no secret in it."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

KAFKA_CLIENT: Final = logging.getLogger("librdkafka")
"""What Kafka's client has to say of its own accord. It is heard in services (`streams/outage.py`), and nowhere else: a
command says itself, in its one line, that no broker answers.
"""
KAFKA_CLIENT.addHandler(logging.NullHandler())

HIDDEN: Final = "***"
_SECRET_NAME: Final = re.compile(r"password|passwd|secret|token|authorization|api_key|credential", re.IGNORECASE)
_SECRET_VALUE: Final = (
    (re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)\b([\w.]*(?:password|secret|token))(\s*[=:]\s*)[^\s,;&]+"), rf"\1\2{HIDDEN}"),
)


def redact(text: str) -> str:
    """`text` without the passwords, tokens and credentials that stand in it."""
    for pattern, replacement in _SECRET_VALUE:
        text = pattern.sub(replacement, text)
    return text


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: HIDDEN if _SECRET_NAME.search(str(name)) else _redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(inner) for inner in value]
    return value


def redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: nothing secret leaves, neither by its name nor inside a text."""
    for name, value in event.items():
        if not name.startswith("_"):
            event[name] = HIDDEN if _SECRET_NAME.search(name) else _redacted(value)
    return event


def configure_logging(
    style: Literal["console", "json"] = "console", level: str = "info", *, stream: TextIO | None = None
) -> logging.Handler:
    """Send everything that is logged, ours and the libraries', to `stream` (standard error) in one form, by one handler."""
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return handler
