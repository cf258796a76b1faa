"""The invariants of users by their ids, and how they are looked for."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor

from schemas.alerts import AlertSeen
from sinks.invariants import queries
from sinks.invariants.ratings import Recompute, compare_ratings
from sinks.ledger.rulesets import fetch_rating_rules

SHOWN: Final = 5
"""So much of what is wrong with a user is said in an alert; the rest is counted."""
MOST_ID: Final = 2**63 - 1


class Ids(NamedTuple):
    """These users."""

    ids: Collection[int]

    def condition(self, column: str) -> str:
        """The condition that a user is among them."""
        return f"{column} = ANY (%(ids)s::bigint[])"

    def parameters(self) -> dict[str, Any]:
        """What the condition takes."""
        return {"ids": list(self.ids)}


class Range(NamedTuple):
    """All users from the first to the last id."""

    first: int
    last: int

    def condition(self, column: str) -> str:
        """The condition that a user is among them."""
        return f"{column} BETWEEN %(first)s AND %(last)s"

    def parameters(self) -> dict[str, Any]:
        """What the condition takes."""
        return self._asdict()


Scope = Ids | Range

Violation = AlertSeen
"""What does not hold, ready to raise an alert for."""

INVARIANTS: Final[Mapping[str, str | None]] = {
    "INV-R01": queries.XP_BALANCE,
    "INV-R02": queries.CREDIT_BALANCE,
    "INV-R03": queries.RECEIPTS,
    "INV-R05": queries.BADGES,
    "INV-R06": None,
    "INV-R07": queries.TRANSFERS,
    "INV-R08": queries.PROGRESS,
    "SYNC-01": queries.LEVELS_AGREE,
    "SYNC-02": queries.LICENSE_EXISTS,
    "SYNC-03": queries.PROGRESS_EXISTS,
    "SYNC-04": queries.LEVEL_MAXIMUM,
    "SYNC-05": queries.HIGHEST_LEVEL,
    "OPS-06": queries.DEBTS,
}
"""Per invariant of users its query; SQL rounds unlike the rules, so ratings are compared by these."""

_IN_SCOPE: Final = re.compile(r"IN_SCOPE\(([a-z_.]+)\)")


def find_violations(
    cursor: Cursor, scope: Scope, recompute: Recompute, wanted: Iterable[str] = INVARIANTS
) -> list[Violation]:
    """Look for what is broken among the users in `scope`; one violation per user and invariant."""
    return [violation for kind in wanted for violation in _violations(kind, _rows(cursor, kind, scope, recompute))]


def find_positions_behind(cursor: Cursor, scope: Scope) -> list[Violation]:
    """Look for partitions whose position lies before what receipts of these users came from."""
    return [
        AlertSeen(
            kind="INV-R09",
            subject=subject,
            expected=expected,
            found=found,
            labels={"topic": subject.rpartition("/")[0], "partition": subject.rpartition("/")[2]},
        )
        for _, expected, found, _, subject in _execute(cursor, queries.POSITIONS, scope)
    ]


def _rows(cursor: Cursor, kind: str, scope: Scope, recompute: Recompute) -> Sequence[tuple[Any, ...]]:
    query = INVARIANTS[kind]
    if query is not None:
        return _execute(cursor, query, scope)
    rules = fetch_rating_rules(cursor)
    return list(compare_ratings(lambda statement: _execute(cursor, statement, scope), rules, recompute))


def _execute(cursor: Cursor, query: str, scope: Scope) -> list[tuple[Any, ...]]:
    statement = _IN_SCOPE.sub(lambda found: scope.condition(found[1]), query)
    cursor.execute(statement, scope.parameters())
    return cursor.fetchall()


def _violations(kind: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[Violation]:
    for user_id, of_user in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        found = list(of_user)
        labels = {"user_id": str(user_id)}
        event_key = next((row[3] for row in found if row[3]), None)
        if event_key:
            labels["event_key"] = event_key
        yield AlertSeen(
            kind=kind,
            subject=f"user {user_id}",
            expected=_listed([row[1] for row in found]),
            found=_listed([row[2] for row in found]),
            labels=labels,
        )


def _listed(values: Sequence[str]) -> str:
    more = len(values) - SHOWN
    return "; ".join(values[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
