"""The one door to the rules: which of them an event is for."""

from typing import assert_never

from schemas.events import CreditTransfer, LevelCommand, SessionAttendance, TournamentResult
from schemas.rewards import Adjustment, Decision, Grant, UserState
from schemas.ruleset import Ruleset
from streams.rules.attendance import adjust_attendance, decide_attendance, presence_key
from streams.rules.commands import command_key, decide_command
from streams.rules.tournament import adjust_result, decide_result, result_key
from streams.rules.transfers import decide_transfer, transfer_key

RewardEvent = TournamentResult | SessionAttendance | LevelCommand | CreditTransfer


def decide(state: UserState, event: RewardEvent, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """What `event` does to the user whose `state` is given; changes nothing itself.

    `state` knows the event's source, and the results that `results_needed` names. `ruleset` is the one that decided the
    source where there is one, else the active one.
    """
    if type(event) is TournamentResult:
        return decide_result(state, event, payload_hash, ruleset)
    if type(event) is SessionAttendance:
        return decide_attendance(state, event, payload_hash, ruleset)
    if type(event) is LevelCommand:
        return decide_command(state, event, payload_hash, ruleset)
    if type(event) is CreditTransfer:
        return decide_transfer(state, event, payload_hash, ruleset)
    assert_never(event)


def adjust(
    state: UserState, event: TournamentResult | SessionAttendance, payload_hash: bytes, adjustment: Adjustment
) -> Grant:
    """What `event`, which stands as its source's last word, gives more or less by another ruleset.

    Commands and transfers have none: no ruleset has a say in them. Where the rulesets rate differently, `state` knows all
    results of the event's specialization.
    """
    if isinstance(event, TournamentResult):
        return adjust_result(state, event, payload_hash, adjustment)
    return adjust_attendance(state, event, payload_hash, adjustment)


def base_key(event: RewardEvent) -> str:
    """The event key of the first receipt of the event's source."""
    if type(event) is TournamentResult:
        return result_key(event)
    if type(event) is SessionAttendance:
        return presence_key(event)
    if type(event) is LevelCommand:
        return command_key(event)
    if type(event) is CreditTransfer:
        return transfer_key(event)
    assert_never(event)
