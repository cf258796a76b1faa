"""The agent of `level-commands`: somebody's orders to move levels, XP, sessions or hours."""

from faust.types import StreamT

from schemas.events import LEVEL_COMMANDS
from streams.agents.draining import drained
from streams.recorder import Recorder


async def level_commands(stream: StreamT[bytes], recorder: Recorder) -> None:
    """Record the level commands, refused ones included."""
    async for chunks in drained(stream):
        for chunk in chunks:
            recorder.gather(LEVEL_COMMANDS, chunk)
