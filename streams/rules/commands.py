"""Level commands: somebody's order to move a level, XP, sessions or hours. Decided once, refused or not."""

from schemas.events import LevelCommand
from schemas.keys import make_key
from schemas.rewards import Decision, Grant, Progress, RefusalReason, Refused, Source, UserState, XpEntry
from schemas.ruleset import Ruleset
from streams.rules.levels import Change, find_progress, move, settle
from streams.rules.sources import ONLY_REVISION, recognise


def command_key(event: LevelCommand) -> str:
    """The event key of the command's receipt."""
    return make_key("command", event.command_id, "level", event.user_id)


def decide_command(state: UserState, event: LevelCommand, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """What the command changes, or why it is refused for good."""
    key = command_key(event)
    source = state.sources.get(key)
    if source is not None and (repeat := recognise(source, ONLY_REVISION, payload_hash, key)) is not None:
        return repeat
    refusal = _refuse(event, find_progress(state, event.specialization), len(state.levels[event.specialization]))
    if refusal is not None:
        reason, detail = refusal
        return Refused(reason, detail, key, Source(ONLY_REVISION, payload_hash, ruleset.hash))
    change = Change(event.xp_change, event.sessions_change, event.theory_hours_change, event.practice_hours_change)
    moved = move(state, event.specialization, change, event.new_level)
    settled = settle(state, {event.specialization: moved})
    return Grant(
        event_key=key,
        source_after=Source(
            revision=ONLY_REVISION,
            payload_hash=payload_hash,
            ruleset=ruleset.hash,
            xp_given={event.specialization: event.xp_change} if event.xp_change else {},
        ),
        xp=_xp_entries(event),
        level_changes=settled.level_changes,
        progress_after=settled.progress,
        licenses_after=settled.licenses,
    )


def _xp_entries(event: LevelCommand) -> tuple[XpEntry, ...]:
    if not event.xp_change:
        return ()
    key = make_key("command", event.command_id, "xp", event.user_id)
    return (XpEntry("LEVEL_COMMAND", event.specialization, event.xp_change, key),)


def _refuse(event: LevelCommand, found: Progress, max_level: int) -> tuple[RefusalReason, str] | None:
    """Why the command cannot be obeyed, and the detail that names the field."""
    changes = (
        ("xp_change", event.xp_change, found.total_xp),
        ("sessions_change", event.sessions_change, found.sessions),
        ("theory_hours_change", event.theory_hours_change, found.theory_hours),
        ("practice_hours_change", event.practice_hours_change, found.practice_hours),
    )
    if event.new_level is None and not any(change for _, change, _ in changes):
        return "empty_command", "neither new_level nor any change"
    if event.new_level is not None and not 1 <= event.new_level <= max_level:
        return "invalid_level", f"new_level: {event.new_level} is not one of 1..{max_level} of {event.specialization}"
    for field, change, total in changes:
        if change < 0 and total + change < 0:
            return "negative_total", f"{field}: {change} would leave {total + change}"
    return None
