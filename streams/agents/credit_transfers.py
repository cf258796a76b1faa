"""The agent of `credit-transfers`: users give credits to each other."""

from faust.types import StreamT

from schemas.events import CREDIT_TRANSFERS
from streams.agents.draining import drained
from streams.recorder import Recorder


async def credit_transfers(stream: StreamT[bytes], recorder: Recorder) -> None:
    """Record the transfers, covered or rejected."""
    async for chunks in drained(stream):
        for chunk in chunks:
            recorder.gather(CREDIT_TRANSFERS, chunk)
