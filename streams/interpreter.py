"""How a process that records sets up Python: garbage, threads and memory."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

COLLECT_EVERY: Final = 200_000
"""Allocations between two looks for cycles. Per event we make dozens of objects and hardly a cycle: looking as often as
Python does by default took a third of the time."""

SWITCH_SECONDS: Final = 0.001
"""How long a thread waits for another one that computes. A ledger's thread asks Postgres some twenty things a batch, and
must not wait Python's usual 5 ms after each answer."""

M_ARENA_MAX: Final = -8
M_TRIM_THRESHOLD: Final = -1
TRIM_BYTES: Final = 8 * 1024 * 1024
"""How much freed memory may stay ours. By glibc's default each thread gets a heap of its own, and what a large batch once
took is never given back: a worker was 40 MiB larger, and grew."""


def prepare() -> None:
    """Set up this process, once everything that lives as long as it does is imported."""
    with suppress(AttributeError):  # not glibc's
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)


@contextmanager
def prepared() -> Iterator[None]:
    """Do about garbage and threads what `prepare` does, for as long as this lasts: in a process that is for more."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
