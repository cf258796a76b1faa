"""Session attendance: XP, credits, skill points, sessions and hours, and the bonus for every milestone of sessions."""

from msgspec import structs

from schemas.events import SessionAttendance
from schemas.keys import make_key
from schemas.rewards import Adjustment, Counted, Decision, Grant, Progress, Source, UserState, XpEntry
from schemas.ruleset import Bonus, Ruleset
from streams.rules.entries import SESSION, Posting, points_per_skill
from streams.rules.levels import Change, changes_by, move_all, settle
from streams.rules.sources import NOTHING_GIVEN, recognise, row_specialization


def presence_key(event: SessionAttendance) -> str:
    """The event key of the first receipt of the attendance's session."""
    return make_key("session", event.session_id, "presence", event.user_id)


def decide_attendance(state: UserState, event: SessionAttendance, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """What the attendance gives, less what its session has given the user so far, and the bonus it completes."""
    key = presence_key(event)
    source = state.sources.get(key)
    if source is not None and (repeat := recognise(source, event.revision, payload_hash, key)) is not None:
        return repeat
    return _give(state, event, key, payload_hash, ruleset, source)


def adjust_attendance(state: UserState, event: SessionAttendance, payload_hash: bytes, adjustment: Adjustment) -> Grant:
    """What the attendance, which stands, gives by another ruleset, less what its session has given the user so far.

    Milestones that were paid stay paid, at what they were worth then; new ones that the other ruleset sees are paid.
    """
    key = presence_key(event)
    return _give(state, event, key, payload_hash, adjustment.after, state.sources[key], adjustment.run)


def _give(
    state: UserState,
    event: SessionAttendance,
    key: str,
    payload_hash: bytes,
    ruleset: Ruleset,
    source: Source | None,
    run: str | None = None,
) -> Grant:
    given = source or NOTHING_GIVEN
    earned = ruleset.attendance[event.status]
    points = points_per_skill(event.skills, earned.skill_points)
    counted = Counted(event.specialization, 1, event.theory_hours, event.practice_hours) if earned.counts else None

    revision = None if source is None else event.revision
    posting = Posting(SESSION, event.session_id, event.user_id, None, revision, run)
    xp = posting.xp(event.specialization, earned.xp, given.xp_given, withdrawn=event.status == "withdrawn")
    credit_entries = posting.credits(earned.credits, given.credits_given)
    moved = move_all(state, _changes(event.specialization, xp, given.counted, counted))
    progress, bonus = pay_milestones(moved[event.specialization], ruleset.content.bonus)
    if bonus:
        credit_entries += (posting.credit_entry("ATTENDANCE_BONUS", "attendance_bonus", bonus),)
    moved[event.specialization] = progress
    settled = settle(state, moved)
    return Grant(
        event_key=key if source is None else posting.key("presence"),
        corrects=None if source is None else key,
        adjusts=run is not None,
        source_after=Source(
            revision=event.revision,
            payload_hash=payload_hash,
            ruleset=ruleset.hash,
            specialization=row_specialization(event, given),
            xp_given={event.specialization: earned.xp} if earned.xp else {},
            credits_given=earned.credits,
            skills_given=points,
            counted=counted,
        ),
        xp=xp,
        credits=credit_entries,
        skills=posting.skills(points, given.skills_given),
        level_changes=settled.level_changes,
        progress_after=settled.progress,
        licenses_after=settled.licenses,
    )


def _changes(
    specialization: str, xp: tuple[XpEntry, ...], before: Counted | None, after: Counted | None
) -> dict[str, Change]:
    """What the event moves: its XP, out with what the session counted for so far, in with what it counts for now."""
    changes = changes_by(specialization, xp, also=() if before is None else (before.specialization,))
    for counted, sign in ((before, -1), (after, 1)):
        if counted is not None:
            change = changes[counted.specialization]
            change.sessions += sign * counted.sessions
            change.theory_hours += sign * counted.theory_hours
            change.practice_hours += sign * counted.practice_hours
    return changes


def pay_milestones(progress: Progress, bonus: Bonus) -> tuple[Progress, int]:
    """`progress` with every milestone that its sessions reach paid, and the credits for the new ones."""
    reached = progress.sessions // bonus.every_sessions
    if reached <= progress.milestones_paid:
        return progress, 0
    return structs.replace(progress, milestones_paid=reached), (reached - progress.milestones_paid) * bonus.credits
