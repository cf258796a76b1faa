"""The agent of `tournament-results`: who placed where, and what that earns."""

from faust.types import StreamT

from schemas.events import TOURNAMENT_RESULTS
from streams.agents.draining import drained
from streams.recorder import Recorder


async def tournament_results(stream: StreamT[bytes], recorder: Recorder) -> None:
    """Record what users achieved in tournaments, corrections and withdrawals included."""
    async for chunks in drained(stream):
        for chunk in chunks:
            recorder.gather(TOURNAMENT_RESULTS, chunk)
