"""The agent of `reward-alerts`: tells the webhook of every alert, in order, until it has taken it."""

from typing import Protocol

from faust.types import StreamT

from streams.agents.draining import drained
from streams.consumer import Chunk


class Tells(Protocol):
    """What tells somebody of alerts, and acknowledges them."""

    async def tell(self, chunk: Chunk) -> None:
        """Tell of all alerts in `chunk`."""


async def reward_alerts(stream: StreamT[bytes], teller: Tells) -> None:
    """Pass alerts on."""
    async for chunks in drained(stream):
        for chunk in chunks:
            await teller.tell(chunk)
