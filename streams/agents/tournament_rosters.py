"""The agent of `tournament-rosters`: who took part in which tournament."""

from faust.types import StreamT

from schemas.events import TOURNAMENT_ROSTERS
from streams.agents.draining import drained
from streams.recorder import Recorder


async def tournament_rosters(stream: StreamT[bytes], recorder: Recorder) -> None:
    """Record what reconciliation expects of each tournament."""
    async for chunks in drained(stream):
        for chunk in chunks:
            recorder.gather(TOURNAMENT_ROSTERS, chunk)
