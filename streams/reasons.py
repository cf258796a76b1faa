"""The rule that decided an event, in words and numbers."""

from typing import assert_never

from schemas.events import CreditTransfer, Event, LevelCommand, SessionAttendance, TournamentResult, TournamentRoster
from schemas.ruleset import Ruleset


def reason_for(event: Event, ruleset: Ruleset) -> str:
    """Say what `event` earns by `ruleset`, before what its source has given already is taken off."""
    match event:
        case TournamentResult(status="withdrawn") | SessionAttendance(status="withdrawn"):
            return "withdrawn: what was given is taken back"
        case TournamentResult():
            return _result(event, ruleset)
        case SessionAttendance():
            return _attendance(event, ruleset)
        case LevelCommand():
            return _command(event)
        case CreditTransfer():
            return (
                f"user {event.sender_id} gives user {event.receiver_id} {event.amount} credits, "
                "if their balance covers it"
            )
        case TournamentRoster():
            return "a roster decides no reward"
        case _:
            assert_never(event)


def _result(event: TournamentResult, ruleset: Ruleset) -> str:
    band = ruleset.band(event.placement)
    place = "no placement" if event.placement is None else f"placement {event.placement}"
    of = "" if event.participants is None else f" of {event.participants}"
    badge = "" if band.badge is None else f", badge {band.badge}"
    return f"{place}{of}: {band.xp} XP, {band.credits} credits, {band.skill_points} points a skill{badge}"


def _attendance(event: SessionAttendance, ruleset: Ruleset) -> str:
    earns = ruleset.attendance[event.status]
    bonus = ruleset.content.bonus
    counts = "counts as a session" if earns.counts else "does not count as a session"
    return (
        f"{event.status}: {earns.xp} XP, {earns.credits} credits, {earns.skill_points} points a skill, {counts}; "
        f"every {bonus.every_sessions} sessions a bonus of {bonus.credits} credits"
    )


def _command(event: LevelCommand) -> str:
    changes = {
        "XP": event.xp_change,
        "sessions": event.sessions_change,
        "theory hours": event.theory_hours_change,
        "practice hours": event.practice_hours_change,
    }
    said = [f"{change:+d} {name}" for name, change in changes.items() if change]
    if event.new_level is not None:
        said.append(f"level {event.new_level}")
    by = "" if event.advanced_by is None else f" by {event.advanced_by}"
    why = f": {event.reason}" if event.reason else ""
    return f"a command{by} sets {', '.join(said) or 'nothing'}{why}"
