"""What is recorded of an event's source: whether the event still has an effect, and what it starts from."""

from typing import Final

from schemas.events import SessionAttendance, TournamentResult
from schemas.rewards import Duplicate, Refused, Source, Stale

NOTHING_GIVEN: Final = Source(revision=0, payload_hash=None)
"""What the first event of a source starts from."""

ONLY_REVISION: Final = 1
"""Of commands and transfers, which cannot be corrected."""


def recognise(source: Source, revision: int, payload_hash: bytes, base_key: str) -> Duplicate | Stale | Refused | None:
    """Why an event of a recorded source has no effect; None for a correction, which has one.

    The first revision 1 of an adopted source is a duplicate whatever it says, and from then on its payload counts.
    """
    if revision > source.revision:
        return None
    if revision < source.revision:
        return Stale(base_key)
    if source.payload_hash is None:
        return Duplicate(base_key, remember=payload_hash)
    if source.payload_hash == payload_hash:
        return Duplicate(base_key)
    return Refused("conflict", f"revision {revision} of {base_key} is recorded with another payload", base_key)


def row_specialization(event: TournamentResult | SessionAttendance, before: Source) -> str:
    """The specialization that the source's row names after `event`: a withdrawal leaves the row's values alone."""
    if event.status == "withdrawn" and before.specialization is not None:
        return before.specialization
    return event.specialization
