"""Pauses between attempts: longer each time, up to a bound, and jittered so that no two return at once."""

import random
import time


class Backoff:
    """Pauses from `first` to `most` seconds, doubling until `reset`."""

    def __init__(self, *, first: float = 0.1, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._pause = first
        self._until = 0.0

    def next_seconds(self) -> float:
        """How long to pause now. Until then `waiting` is true."""
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, self._most)
        self._until = time.monotonic() + pause
        return pause

    def waiting(self) -> bool:
        """Whether the last pause is not over yet."""
        return time.monotonic() < self._until

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._pause = self._first
        self._until = 0.0
