"""Checks that what Postgres holds is what the events say: touched users at once, everybody in sweeps.

Every invariant is one statement and so sees one moment: a batch that is being recorded is seen whole or not at all. A
sweep looks twice, the second time in the transaction that raises the alert, so that what is mended meanwhile stays quiet.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from msgspec import Struct
from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from schemas.messages import ChangedRows, EntryFields
from schemas.rewards import License, RatedResult, Rating, RatingPoint, UserState
from schemas.settings import Settings
from sinks.alerts import raise_alerts, resolve_alerts
from sinks.database import Connect
from sinks.invariants.checking import (
    INVARIANTS,
    MOST_ID,
    SHOWN,
    Ids,
    Range,
    Violation,
    find_positions_behind,
    find_violations,
)
from sinks.invariants.settling import (
    firing_positions,
    firing_users,
    positions_caught_up,
    settle_alone,
    wait_for_settling,
)
from sinks.invariants.sweeping import (
    SCHEDULED,
    count_users,
    fetch_checkpoint,
    fetch_positions,
    range_end,
    save_checkpoint,
)
from sinks.invariants.tournaments import (
    Grace,
    check_touched_tournaments,
    check_tournaments,
    firing_tournaments,
    mark_distributed,
)
from streams.rules.ratings import rate
from streams.touched import Touch

CHUNK_USERS: Final = 5_000
USERS_AT_ONCE: Final = 2_000
RECENT_ROSTERS: Final = timedelta(minutes=2)

ROSTERS: Final = "INV-R04"
POSITIONS: Final = "INV-R09"
TOPICS: Final = "the topics"
ALL: Final = (*INVARIANTS, ROSTERS, POSITIONS)
"""Every invariant there is."""

Progressed = Callable[[int, int], None]
"""Told of users that were swept, and of how many there are."""


@dataclass(slots=True)
class Swept:
    """What a sweep found; users are those that it looked at, all that come after the id `after`."""

    after: int = 0
    users: int = 0
    violations: list[Violation] = field(default_factory=list)
    distributed: int = 0


def grace_of(settings: Settings) -> Grace:
    """How long results may be missing."""
    return Grace(timedelta(hours=settings.roster_warning_hours), timedelta(hours=settings.roster_critical_hours))


def recompute(license_: License, results: Mapping[RatingPoint, RatedResult]) -> Mapping[str, Rating]:
    """The ratings that the rules make of a license's results."""
    state = UserState(0, {})
    state.licenses["rated"] = license_
    state.results["rated"] = dict(results)
    return rate(state, {"rated": {}})["rated"].skills


class TouchedByGrant(Struct, frozen=True, gc=False):
    """Of a `GrantNote` what touches others than the receipt's own user."""

    credits: list[EntryFields] = []


class TouchedByEvent(Struct, frozen=True, tag_field="kind", tag="recorded", gc=False):
    """Of a `RecordedEntry` as little as it takes to know whom it touches: there are thousands a second."""

    user_id: int
    grant: TouchedByGrant


def touched_users(entries: Iterable[TouchedByEvent | ChangedRows]) -> Touch:
    """The users that messages on `reward-entries` speak of, and whether more are touched than are named."""
    recorded: set[int] = set()
    changed: set[int] = set()
    everybody = False
    for entry in entries:
        if isinstance(entry, TouchedByEvent):
            recorded.add(entry.user_id)
            recorded.update(int(credit[2]) for credit in entry.grant.credits if len(credit) > 2)  # noqa: PLR2004
        else:
            changed.update(entry.user_ids)
            everybody |= entry.truncated
    return Touch(recorded, changed, everybody)


def check_users(cursor: Cursor, users: Collection[int], grace: Grace) -> list[Violation]:
    """Check these users and their tournaments: raise what is broken, resolve what holds again, within the transaction."""
    wait_for_settling(cursor)
    seen: list[Violation] = []
    ordered = sorted(users)
    for start in range(0, len(ordered), USERS_AT_ONCE):
        scope = Ids(ordered[start : start + USERS_AT_ONCE])
        seen += _settle(cursor, scope, list(INVARIANTS), find_violations(cursor, scope, recompute))
    tournaments = check_touched_tournaments(cursor, ordered, RECENT_ROSTERS)
    if tournaments:
        seen += _check_tournaments(cursor, grace, tournaments)[0]
    return seen


def sweep(
    connect: Connect,
    grace: Grace,
    *,
    wanted: Collection[str] = ALL,
    sweeper: str = SCHEDULED,
    resume: bool = True,
    progressed: Progressed = lambda _users, _of: None,
) -> Swept:
    """Check everybody, some thousands at a time, each of them in short transactions of its own; raise and resolve.

    With `resume` it goes on where a sweep of the same `sweeper` was killed; one that ended leaves nothing to go on from.
    """
    swept = Swept()
    kinds = [kind for kind in wanted if kind in INVARIANTS]
    with closing(connect()) as connection, connection.cursor() as cursor:
        after = swept.after = fetch_checkpoint(cursor, sweeper, wanted) if resume else 0
        total = count_users(cursor, after)
        # Who goes on with a sweep did not see all the receipts.
        firing = [] if after else firing_positions(cursor)
        wait_for_settling(cursor)
        connection.rollback()
        behind: list[Range] = []
        while (chunk := range_end(cursor, after, CHUNK_USERS)) is not None:
            last, users = chunk
            scope = Range(after + 1, last)
            suspects = find_violations(cursor, scope, recompute, kinds)
            if POSITIONS in wanted and find_positions_behind(cursor, scope):
                behind.append(scope)
            connection.rollback()
            swept.violations += _settle(cursor, scope, kinds, suspects)
            save_checkpoint(cursor, sweeper, wanted, last)
            connection.commit()
            after = last
            swept.users += users
            progressed(users, total)
        _settle(cursor, Range(after + 1, MOST_ID), kinds, [])
        if POSITIONS in wanted:
            swept.violations += _settle_positions(cursor, behind, firing)
        if ROSTERS in wanted:
            seen, swept.distributed = _check_tournaments(cursor, grace, None)
            swept.violations += seen
        save_checkpoint(cursor, sweeper, wanted, 0)
        connection.commit()
    return swept


def settle_topics(cursor: Cursor, differences: Sequence[str]) -> None:
    """INV-R09 in its deep form: raise an alert where the topics say something else than the tables, or resolve it."""
    if not differences:
        resolve_alerts(cursor, [(POSITIONS, TOPICS)])
        return
    some = "; ".join(differences[:SHOWN])
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    raise_alerts(
        cursor, [AlertSeen(kind=POSITIONS, subject=TOPICS, expected="every row as the topics say", found=some + more)]
    )


class PositionsSeen:
    """How far each position was when last looked at, while its log stays the same: it never goes back."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int, str], int] = {}

    def check(self, cursor: Cursor) -> None:
        """Raise an alert for each position that went back, and resolve those that were caught up with, whoever saw it."""
        back: list[Violation] = []
        for where, now in fetch_positions(cursor).items():
            before = self._seen.setdefault(where, now)
            if now < before:
                back.append(_went_back(*where, before, now))
            else:
                self._seen[where] = now
        raise_alerts(cursor, back)
        resolve_alerts(cursor, [(POSITIONS, subject) for subject in positions_caught_up(cursor)])


def _went_back(group: str, topic: str, partition: int, log_id: str, before: int, now: int) -> Violation:
    return Violation(
        kind=POSITIONS,
        subject=f"{topic}/{partition} of {group}",
        expected=f"a position of at least {before}",
        found=str(now),
        labels={"topic": topic, "partition": str(partition), "log_id": log_id},
    )


def _settle(cursor: Cursor, scope: Range | Ids, kinds: list[str], suspects: list[Violation]) -> list[Violation]:
    """Look a second time at whom alerts are about or will be, alone, and raise or resolve them."""
    firing = firing_users(cursor, kinds, scope)
    subjects = {violation.subject for violation in suspects} | {subject for _, subject in firing}
    if not subjects:
        return []
    settle_alone(cursor)
    users = Ids([int(subject.removeprefix("user ")) for subject in subjects])
    found = find_violations(cursor, users, recompute, kinds)
    raise_alerts(cursor, found)
    resolve_alerts(cursor, firing - {(violation.kind, violation.subject) for violation in found})
    return found


def _settle_positions(cursor: Cursor, behind: list[Range], firing: list[str]) -> list[Violation]:
    """Look a second time where receipts were ahead of their positions, alone; that one went back is for who saw it."""
    if not behind and not firing:
        return []
    settle_alone(cursor)
    found = {violation.subject: violation for scope in behind for violation in find_positions_behind(cursor, scope)}
    raise_alerts(cursor, list(found.values()))
    resolve_alerts(cursor, [(POSITIONS, subject) for subject in firing if subject not in found])
    return list(found.values())


def _check_tournaments(
    cursor: Cursor, grace: Grace, tournaments: Collection[int] | None
) -> tuple[list[Violation], int]:
    """Check these tournaments, or all in a sweep, which alone repeats what was told before."""
    seen, complete = check_tournaments(cursor, grace, tournaments)
    firing = firing_tournaments(cursor, tournaments)
    told = firing == {(violation.subject, violation.severity, violation.found) for violation in seen}
    if told and not complete and (tournaments is not None or not firing):
        return seen, 0
    settle_alone(cursor)
    subjects = {violation.subject for violation in seen} | {subject for subject, _, _ in firing}
    seen, complete = check_tournaments(
        cursor, grace, [*complete, *(int(subject.removeprefix("tournament ")) for subject in subjects)]
    )
    raise_alerts(cursor, seen)
    broken = {violation.subject for violation in seen}
    resolve_alerts(cursor, [(ROSTERS, subject) for subject in subjects - broken])
    return seen, mark_distributed(cursor, complete) if complete else 0
