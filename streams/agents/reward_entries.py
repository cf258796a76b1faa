"""The agent of `reward-entries`: what was recorded, and what anybody else changed, touches users to be checked."""

from typing import Protocol

from faust.types import StreamT

from streams.agents.draining import drained
from streams.consumer import LinkedMessage


class Checks(Protocol):
    """What checks the users that messages touch, and acknowledges them."""

    def touch(self, messages: list[LinkedMessage]) -> None:
        """Have everyone checked whom `messages` touch."""

    async def pause(self) -> None:
        """Let more come in, for a moment, that can be decoded at once."""


async def reward_entries(stream: StreamT[bytes], reconciler: Checks) -> None:
    """Have every touched user checked."""
    async for messages in drained(stream):
        reconciler.touch(messages)
        await reconciler.pause()
