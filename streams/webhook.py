"""Alerts as Alertmanager's API v2 takes them."""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import httpx
import structlog

from schemas.messages import Alert
from sinks.alerts import HEARTBEAT
from streams.backoff import Backoff

TIMEOUT_SECONDS: Final = 5.0
FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 30.0
LASTS: Final = 2 * HEARTBEAT
"""So long an alert fires at the receiver if nothing more comes of it: one heartbeat may be late."""
_LASTING_REFUSALS: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

log = structlog.get_logger()


def as_alertmanager(alert: Alert) -> dict[str, Any]:
    """`alert` in Alertmanager's v2 form. One that fires ends in the future, for Alertmanager ends what names no end itself."""
    ends_at = alert.last_seen + LASTS if alert.resolved_at is None else alert.resolved_at
    return {
        "labels": {
            **alert.labels,
            "alertname": alert.kind,
            "severity": alert.severity,
            "subject": alert.subject,
            "fingerprint": alert.fingerprint,
        },
        "annotations": alert.annotations,
        "startsAt": alert.first_seen.isoformat(),
        "endsAt": ends_at.isoformat(),
    }


class Webhook:
    """Posts alerts to one address, again and again until it answers."""

    def __init__(self, url: str) -> None:
        # It logs every address, and this one is a secret.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._url = url
        self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)

    async def tell(self, alerts: Sequence[Alert]) -> bool:
        """Post the alerts; False where the receiver refuses them for good, which is logged."""
        backoff = Backoff(first=FIRST_SECONDS, most=LONGEST_SECONDS)
        body = [as_alertmanager(alert) for alert in alerts]
        while True:
            try:
                answer = await self._client.post(self._url, json=body)
            except httpx.HTTPError as error:
                problem = type(error).__name__
            else:
                if answer.is_success:
                    return True
                problem = f"status {answer.status_code}"
                if answer.is_client_error and answer.status_code not in _LASTING_REFUSALS:
                    log.error("the webhook refuses alerts", problem=problem, alerts=len(alerts))
                    return False
            pause = backoff.next_seconds()
            log.warning("the webhook does not take alerts", problem=problem, again_in_seconds=round(pause, 1))
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
