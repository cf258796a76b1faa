"""The one door to the rules: which of them an event is for."""

from typing import assert_never

from schemas.events import CreditTransfer, LevelCommand, SessionAttendance, TournamentResult
from schemas.rewards import Decision, UserState
from schemas.ruleset import Ruleset
from streams.rules.attendance import decide_attendance, presence_key
from streams.rules.commands import command_key, decide_command
from streams.rules.tournament import decide_result, result_key
from streams.rules.transfers import decide_transfer, transfer_key

RewardEvent = TournamentResult | SessionAttendance | LevelCommand | CreditTransfer


def decide(state: UserState, event: RewardEvent, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """What `event` does to the user whose `state` is given; changes nothing itself.

    `state` knows the event's source, and the results that `results_needed` names. `ruleset` is the one that decided the
    source where there is one, else the active one.
    """
    match event:
        case TournamentResult():
            return decide_result(state, event, payload_hash, ruleset)
        case SessionAttendance():
            return decide_attendance(state, event, payload_hash, ruleset)
        case LevelCommand():
            return decide_command(state, event, payload_hash, ruleset)
        case CreditTransfer():
            return decide_transfer(state, event, payload_hash, ruleset)
        case _:
            assert_never(event)


def base_key(event: RewardEvent) -> str:
    """The event key of the first receipt of the event's source."""
    match event:
        case TournamentResult():
            return result_key(event)
        case SessionAttendance():
            return presence_key(event)
        case LevelCommand():
            return command_key(event)
        case CreditTransfer():
            return transfer_key(event)
        case _:
            assert_never(event)
