"""Ctrl-C for what a test starts."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """What is started meanwhile hears SIGINT, also where whoever runs the tests ignores it.

    A shell does, for what it runs in the background.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
