"""Takes what waits in front of an agent, as the consumer put it there: chunks of records, none acknowledged by that."""

from collections.abc import AsyncIterator
from typing import cast

from faust.streams import Stream
from faust.types import ChannelT, StreamT

from streams.consumer import Chunk


async def drained(stream: StreamT[bytes]) -> AsyncIterator[list[Chunk]]:
    """Everything that waits for the agent, again and again, until the agent is stopped.

    Faust's own iteration would start and end one event at a time. Reading its queue leaves its bookkeeping alone, so
    that nothing here acknowledges: that is done by position, once recorded.
    """
    queue = cast("ChannelT[bytes]", cast("Stream[bytes]", stream).noack().channel).queue
    while True:
        try:
            chunks = [cast("Chunk", await queue.get())]
        except StopAsyncIteration:
            return
        while queue.qsize():
            chunks.append(queue.get_nowait())
        yield chunks
