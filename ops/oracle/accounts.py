"""Accounts: users' balances and levels, and the entries that move them."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ops.oracle.book import Book
from ops.oracle.reading import Fact
from ops.oracle.state import Standing, User


class Changes:
    """What one event changes, gathered while it is applied."""

    __slots__ = ("at_us", "grant", "levels_before", "seq")

    def __init__(self, at_us: int, seq: int | None) -> None:
        self.at_us = at_us
        self.seq = seq
        self.grant: dict[str, Any] = {}
        self.levels_before: dict[str, int] = {}

    def add(self, member: str, element: Any) -> None:
        """Add an element to a list of the grant."""
        self.grant.setdefault(member, []).append(element)


class Accounts:
    """Every user's balances, progress and licenses. Rows of append-only tables go to `book`."""

    def __init__(self, levels: Mapping[str, Sequence[int]], book: Book) -> None:
        self.levels = {name: tuple(needs) for name, needs in levels.items()}
        self.book = book
        self.users: dict[int, User] = {}
        self.watched: dict[tuple[int, str], list[int]] = {}
        """By user and specialization, where asked for: sessions and hours that recorded commands moved."""
        self.unsettled: set[tuple[int, str]] = set()
        """Users and specializations whose adjustment nobody knows until an event has settled their level, between both ends."""
        self.settled_at: dict[str, int] = {}
        """The levels at which the event at hand is known to have left an unsettled user's license, if it moved."""

    def user(self, user_id: int) -> User:
        """The user, created where unknown."""
        user = self.users.get(user_id)
        if user is None:
            user = self.users[user_id] = User()
        return user

    def xp_level(self, specialization: str, total: int) -> int:
        """The highest level whose need is at most `total`; 1 below zero too."""
        return max(1, bisect_right(self.levels[specialization], total))

    def touch(self, user: User, specialization: str, changes: Changes) -> None:
        """Create what is missing, and remember the level that the license had.

        A missing side takes the other's level, and the adjustment makes it stand. Where both are there and apart,
        the level that XP and adjustment give will be that of both.
        """
        if specialization in changes.levels_before:
            return
        standing = user.standings.get(specialization)
        if standing is None:
            standing = user.standings[specialization] = Standing()
        changes.levels_before[specialization] = standing.license or 1
        if standing.level is None or standing.license is None:
            level = standing.level or standing.license or 1
            if self.level(specialization, standing) != level:
                standing.adjustment = level - self.xp_level(specialization, standing.xp)
            standing.level = standing.license = level

    def level(self, specialization: str, standing: Standing) -> int:
        """The level that XP and adjustment give."""
        level = self.xp_level(specialization, standing.xp) + standing.adjustment
        return min(max(level, 1), len(self.levels[specialization]))

    def settle_levels(self, user_id: int, user: User, changes: Changes) -> None:
        """Bring progress and license of every touched specialization to the level that XP and adjustment give."""
        for specialization, before in changes.levels_before.items():
            standing = user.standings[specialization]
            if self.unsettled and (user_id, specialization) in self.unsettled:
                self._learn_adjustment(user_id, specialization, standing, self.settled_at.get(specialization, before))
            level = standing.level = standing.license = self.level(specialization, standing)
            standing.highest = max(standing.highest, level)
            if level != before:
                self.book.write(
                    "license_progressions", (user_id, specialization, before, level, changes.at_us, changes.seq)
                )
                changes.add("levels", [specialization, before, level])

    def _learn_adjustment(self, user_id: int, specialization: str, standing: Standing, known: int) -> None:
        """Take over what the level that is known tells: at either end, several adjustments come to the same."""
        if self.level(specialization, standing) != known:
            standing.adjustment = known - self.xp_level(specialization, standing.xp)
        if 1 < known < len(self.levels[specialization]):
            self.unsettled.remove((user_id, specialization))

    def find_apart(self, user_id: int, specialization: str, level: int | None, license_level: int | None) -> None:
        """Take over the levels at which a repair found a user, moved there by somebody else."""
        standing = self.user(user_id).standings.setdefault(specialization, Standing())
        standing.level, standing.license = level, license_level

    def post_xp(self, fact: Fact, specialization: str, amount: int, kind: str, key: str, changes: Changes) -> None:
        """Post XP to the user the fact is about."""
        user = self.users[fact.user_id]
        self.touch(user, specialization, changes)
        user.xp += amount
        user.standings[specialization].xp += amount
        semester = fact.source if fact.kind == "tournament" else None
        self.book.write(
            "xp_transactions",
            (fact.user_id, key, kind, amount, semester, specialization, changes.at_us, changes.seq),
        )
        changes.add("xp", [kind, specialization, amount])

    def post_credit(
        self, user_id: int, fact: Fact, operation: str, kind: str, amount: int, mark: str, changes: Changes
    ) -> None:
        """Post credits to a user, who need not be the one that the fact is about. `mark` ends type and key."""
        kind, key = f"{kind}{mark}", f"{fact.kind}_{fact.source}_{operation}_{user_id}{mark.lower()}"
        self.users[user_id].credits += amount
        semester = fact.source if fact.kind == "tournament" else None
        self.book.write("credit_transactions", (user_id, key, kind, amount, semester, changes.at_us, changes.seq))
        changes.add("credits", [kind, amount] if user_id == fact.user_id else [kind, amount, user_id])
