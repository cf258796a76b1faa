"""Tournament results: XP, credits, skill points, a badge, and the skill ratings."""

from typing import Final

from msgspec import Struct

from schemas.events import TournamentResult
from schemas.keys import make_key
from schemas.rewards import Adjustment, Decision, Grant, Source, UserState
from schemas.ruleset import NO_BAND, Ruleset
from streams.rules.entries import TOURNAMENT, Posting, points_per_skill
from streams.rules.levels import changes_by, move_all, settle
from streams.rules.ratings import change_results, rate
from streams.rules.sources import NOTHING_GIVEN, recognise, row_specialization

NO_BADGES: Final[frozenset[str]] = frozenset()


class Badges(Struct, frozen=True, gc=False):
    """What becomes of a tournament's badges: the one to grant, those to revoke, and those that then stand."""

    granted: str | None
    revoked: tuple[str, ...]
    standing: frozenset[str]


def result_key(event: TournamentResult) -> str:
    """The event key of the first receipt of the result's tournament."""
    return make_key("tournament", event.tournament_id, "result", event.user_id)


def decide_result(state: UserState, event: TournamentResult, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """What the result gives, less what its tournament has given the user so far."""
    key = result_key(event)
    source = state.sources.get(key)
    if source is not None and (repeat := recognise(source, event.revision, payload_hash, key)) is not None:
        return repeat
    return _give(state, event, key, payload_hash, ruleset, source)


def adjust_result(state: UserState, event: TournamentResult, payload_hash: bytes, adjustment: Adjustment) -> Grant:
    """What the result, which stands, gives by another ruleset, less what its tournament has given the user so far."""
    key = result_key(event)
    return _give(state, event, key, payload_hash, adjustment.after, state.sources[key], adjustment)


def _give(
    state: UserState,
    event: TournamentResult,
    key: str,
    payload_hash: bytes,
    ruleset: Ruleset,
    source: Source | None,
    adjustment: Adjustment | None = None,
) -> Grant:
    revision = None if source is None else event.revision
    run = None if adjustment is None else adjustment.run
    given = source or NOTHING_GIVEN
    withdrawn = event.status == "withdrawn"
    band = NO_BAND if withdrawn else ruleset.band(event.placement)
    points = points_per_skill(event.skills, band.skill_points)
    ours = ruleset.badges if adjustment is None else ruleset.badges | adjustment.before.badges
    badges = _change_badges(given.badges, band.badge, ours)

    posting = Posting(TOURNAMENT, event.tournament_id, event.user_id, event.tournament_id, revision, run)
    xp = posting.xp(event.specialization, band.xp, given.xp_given, withdrawn=withdrawn)
    rating = ruleset.content.rating
    results = {} if _rates_alike(adjustment) else change_results(state, event, given.specialization, rating)
    moved = move_all(state, changes_by(event.specialization, xp, also=results))
    settled = settle(state, moved, rate(state, results))
    return Grant(
        event_key=key if source is None else posting.key("result"),
        corrects=None if source is None else key,
        adjusts=adjustment is not None,
        source_after=Source(
            revision=event.revision,
            payload_hash=payload_hash,
            ruleset=ruleset.hash,
            specialization=row_specialization(event, given),
            xp_given={event.specialization: band.xp} if band.xp else {},
            credits_given=band.credits,
            skills_given=points,
            badges=badges.standing,
        ),
        xp=xp,
        credits=posting.credits(band.credits, given.credits_given),
        skills=posting.skills(points, given.skills_given),
        badge=badges.granted,
        revoked_badges=badges.revoked,
        level_changes=settled.level_changes,
        progress_after=settled.progress,
        licenses_after=settled.licenses,
        results_after=results,
    )


def _rates_alike(adjustment: Adjustment | None) -> bool:
    """Whether there is nothing to rate again: the result itself is the same."""
    return adjustment is not None and adjustment.before.content.rating == adjustment.after.content.rating


def _change_badges(standing: frozenset[str], earned: str | None, ours: frozenset[str]) -> Badges:
    """`ours` are the badges that the rulesets at hand give for placements; any other is left alone."""
    keeps = NO_BADGES if earned is None else frozenset((earned,))
    if not standing:
        return Badges(earned, (), keeps)
    revoked = (standing & ours) - keeps
    granted = earned if earned not in standing else None
    return Badges(granted, tuple(sorted(revoked)), (standing - revoked) | keeps)
