"""The agent of `reward-entries`: what was recorded, and what anybody else changed, touches users to be checked."""

from typing import Protocol

from faust.types import StreamT

from streams.agents.draining import drained
from streams.consumer import LinkedMessage


class Checks(Protocol):
    """What checks the users that messages touch, and acknowledges them."""

    async def check(self, messages: list[LinkedMessage]) -> None:
        """Check everyone whom `messages` touch."""

    async def pause(self) -> None:
        """Let more come in, for a moment, that can be checked at once."""


async def reward_entries(stream: StreamT[bytes], reconciler: Checks) -> None:
    """Check every touched user, all that came meanwhile at once."""
    async for messages in drained(stream):
        await reconciler.check(messages)
        await reconciler.pause()
