"""Who is to be checked, and in which order: whom somebody else's changes touch first, at once, and before all others.

Whom the workers recorded for gathers for a moment, so that a busy user is checked once and not for each event. Where more
is recorded than can be checked within about a second, everybody of that round waits a little longer, for a twentieth of the
time: checking then leaves the machine to recording. What was read is acknowledged once whom it touches is checked.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from faust.types import TP

GATHER_SECONDS: Final = 0.15
CHANGED_AT_ONCE: Final = 2_000
RECORDED_AT_ONCE: Final = 100
"""So few that what others change does not wait long for them."""
MANY: Final = 4_000
SHARE: Final = 0.05
LULL_SECONDS: Final = 0.5
"""Nothing came for so long: then nobody needs the machine more."""
MOST: Final = 200_000
"""So many may wait; then nothing is read until they are fewer."""


class Touch(NamedTuple):
    """Whom messages touch: by what workers recorded, by what others changed, and whether more than are named."""

    recorded: Collection[int]
    changed: Collection[int]
    everybody: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What to do next: check these users, and then acknowledge what was read up to `ends`."""

    users: Collection[int]
    everybody: bool = False
    ends: Mapping[TP, int] = field(default_factory=dict)
    may_wait: bool


class Touched:
    """Keeps who is to be checked. Not to be shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed: set[int] = set()
        self._everybody = False
        self._recorded: set[int] = set()
        self._ends: dict[TP, int] = {}
        self._round: deque[list[int]] = deque()
        self._round_ends: dict[TP, int] = {}
        self._gathered_at = 0.0
        self._rests_until = 0.0
        self._came_at = 0.0

    def __len__(self) -> int:
        """How many users wait, some of them perhaps twice."""
        return len(self._changed) + len(self._recorded) + sum(map(len, self._round))

    def add(self, touch: Touch, ends: Mapping[TP, int]) -> None:
        """Take in whom messages touched that end there."""
        self._came_at = self._clock()
        if not self._ends:
            self._gathered_at = self._came_at + GATHER_SECONDS
        self._changed.update(touch.changed)
        self._everybody |= touch.everybody
        self._recorded.update(touch.recorded)
        self._ends.update(ends)

    def take(self) -> Next | float | None:
        """What to do next; or in how many seconds to ask again; None where nothing waits."""
        if self._changed or self._everybody:
            users = [self._changed.pop() for _ in range(min(CHANGED_AT_ONCE, len(self._changed)))]
            everybody, self._everybody = self._everybody, False
            return Next(users=users, everybody=everybody, may_wait=False)
        if not self._round and not self._ends:
            return None
        due_at = self._rests_until if self._round else max(self._rests_until, self._gathered_at)
        early = due_at - self._clock()
        if early > 0:
            return early
        if not self._round:
            self._begin_round()
        users = self._round.popleft()
        return Next(users=users, ends={} if self._round else self._round_ends, may_wait=True)

    def took(self, done: Next, seconds: float) -> None:
        """What was taken last is done, after so many seconds."""
        if done.may_wait and len(self) > MANY and self._clock() - self._came_at < LULL_SECONDS:
            self._rests_until = self._clock() + seconds * (1 / SHARE - 1)

    def _begin_round(self) -> None:
        users = sorted(self._recorded)
        chunks = [users[start : start + RECORDED_AT_ONCE] for start in range(0, len(users), RECORDED_AT_ONCE)]
        # Where only others changed something, there is nobody left to check, and something to acknowledge.
        self._round = deque(chunks or [[]])
        self._round_ends, self._ends, self._recorded = self._ends, {}, set()
