"""How a process that records sets up Python: garbage and threads."""

import gc
import sys
from typing import Final

COLLECT_EVERY: Final = 200_000
"""Allocations between two looks for cycles. Per event we make dozens of objects and hardly a cycle: looking as often as
Python does by default took a third of the time."""

SWITCH_SECONDS: Final = 0.001
"""How long a thread waits for another one that computes. A ledger's thread asks Postgres some twenty things a batch, and
must not wait Python's usual 5 ms after each answer."""


def prepare() -> None:
    """Set up this process, once everything that lives as long as it does is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)
