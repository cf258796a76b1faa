"""The agent of `reward-entries`: what was recorded, and what anybody else changed, touches users to be checked."""

from typing import Protocol

from faust.types import StreamT

from streams.agents.draining import drained
from streams.consumer import Chunk


class Checks(Protocol):
    """What checks the users that messages touch, and acknowledges them."""

    def touch(self, chunk: Chunk) -> None:
        """Have everyone checked whom `chunk` touches."""

    async def pause(self) -> None:
        """Let more come in, for a moment, that can be decoded at once."""


async def reward_entries(stream: StreamT[bytes], reconciler: Checks) -> None:
    """Have every touched user checked."""
    async for chunks in drained(stream):
        for chunk in chunks:
            reconciler.touch(chunk)
        await reconciler.pause()
