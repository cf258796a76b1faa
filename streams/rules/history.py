"""Which results a batch needs to know in full: the ledger loads those, and only those, before it decides."""

from collections.abc import Iterable

from schemas.events import TournamentResult
from schemas.rewards import RatingPoint, UserState
from streams.rules.tournament import result_key


def results_needed(state: UserState, events: Iterable[TournamentResult]) -> set[str]:
    """The specializations whose rated results must be in `state` before one user's `events` are decided, in order.

    Those are the ones where a correction may take a result away, and where one comes that is not after all others.
    Plain results that come in order need none, and neither does what was recorded before.
    """
    needed: set[str] = set()
    rated_to: dict[str, RatingPoint] = {}
    recorded: dict[str, TournamentResult] = {}
    for event in events:
        key = result_key(event)
        before = recorded.get(key) or state.sources.get(key)
        if before is not None and event.revision <= before.revision:
            continue
        recorded[key] = event
        if before is not None and before.specialization is not None:
            needed.add(before.specialization)
        if event.status == "withdrawn" or not event.skills:
            continue
        point = RatingPoint(event.occurred_at, event.tournament_id)
        last = rated_to.get(event.specialization) or _rated_to(state, event.specialization)
        if before is not None or (last is not None and point <= last):
            needed.add(event.specialization)
        else:
            rated_to[event.specialization] = point
    return needed


def _rated_to(state: UserState, specialization: str) -> RatingPoint | None:
    license_ = state.licenses.get(specialization)
    return None if license_ is None else license_.rated_to
