"""The agents: one for each topic of events, each in a file of its own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from faust.types import StreamT

from schemas.events import (
    CREDIT_TRANSFERS,
    LEVEL_COMMANDS,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
)
from streams.agents.credit_transfers import credit_transfers
from streams.agents.level_commands import level_commands
from streams.agents.session_attendance import session_attendance
from streams.agents.tournament_results import tournament_results
from streams.agents.tournament_rosters import tournament_rosters
from streams.recorder import Recorder

AGENTS: Final[Mapping[str, Callable[[StreamT[bytes], Recorder], Awaitable[None]]]] = {
    TOURNAMENT_RESULTS: tournament_results,
    SESSION_ATTENDANCE: session_attendance,
    LEVEL_COMMANDS: level_commands,
    CREDIT_TRANSFERS: credit_transfers,
    TOURNAMENT_ROSTERS: tournament_rosters,
}
