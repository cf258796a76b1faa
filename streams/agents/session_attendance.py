"""The agent of `session-attendance`: who came to which training session."""

from faust.types import StreamT

from schemas.events import SESSION_ATTENDANCE
from streams.agents.draining import drained
from streams.recorder import Recorder


async def session_attendance(stream: StreamT[bytes], recorder: Recorder) -> None:
    """Record who was present, late or absent, and the bonuses that this earns."""
    async for chunks in drained(stream):
        for chunk in chunks:
            recorder.gather(SESSION_ATTENDANCE, chunk)
