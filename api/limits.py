"""Bounds on what one caller may ask for: how often, how much, for how long."""

import asyncio
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Query, Request
from starlette.requests import ClientDisconnect

from api.problems import Problem
from schemas.events import MAX_ID

MOST_CALLERS: Final = 10_000
"""So many callers are remembered; one who was silent for longest begins anew."""
BODY_SECONDS: Final = 15.0
BODY_BYTES: Final = 65_536
BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_LINES: Final = 1_000
PAGE: Final = 100
LARGEST_PAGE: Final = 1_000

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="So many at most.")]
AfterId = Annotated[int, Query(ge=0, le=MAX_ID, description="From the one after this.")]


class RateLimits:
    """A bucket of tokens per caller: `burst` at once, refilled by `rate` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, caller: str) -> float:
        """Take one from the caller's bucket: 0, or for how long there is none."""
        now = time.monotonic()
        left, since = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


async def read_body(request: Request, most_bytes: int = BODY_BYTES) -> bytes:
    """Read the body, as far as it is not too large nor too slow."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        raise too_large(most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise too_large(most_bytes)
    except TimeoutError as error:
        raise too_slow() from error
    except ClientDisconnect as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "the body is not whole") from error
    return bytes(body)


def too_slow() -> Problem:
    """What is answered where a body does not come to its end."""
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the body did not arrive in time")


def too_large(most_bytes: int) -> Problem:
    """What is answered to a body of more bytes than that."""
    detail = f"the body is larger than {most_bytes} bytes"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TOO_LARGE", detail)
