"""Takes what waits in front of an agent: one queue, many messages at once, none acknowledged by being taken."""

from collections.abc import AsyncIterator
from typing import Final, cast

from faust.streams import Stream
from faust.types import ChannelT, StreamT

from streams.consumer import LinkedMessage

AT_ONCE: Final = 1_000


async def drained(stream: StreamT[bytes]) -> AsyncIterator[list[LinkedMessage]]:
    """Everything that waits for the agent, again and again, until the agent is stopped.

    Faust's own iteration would start and end one event at a time. Reading its queue leaves its bookkeeping alone, so
    that nothing here acknowledges: that is done by position, once recorded.
    """
    queue = cast("ChannelT[bytes]", cast("Stream[bytes]", stream).noack().channel).queue
    while True:
        try:
            messages = [await queue.get()]
        except StopAsyncIteration:
            return
        while len(messages) < AT_ONCE and queue.qsize():
            messages.append(queue.get_nowait())
        yield messages
