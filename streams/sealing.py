"""Seals the ledger in the background, as scheduled work: one worker at a time does it for all."""

from contextlib import closing
from typing import Any, Final

from sinks.chain import seal_ledger
from sinks.chain_check import fetch_head
from sinks.database import Connect
from streams.schedule import Task

WAIT_SECONDS: Final = 5.0
"""Who writes for longer is waited for by the next round."""


def sealing_task(connect: Connect, *, every_seconds: float) -> Task:
    """Seal what has settled, every so often. The head it answers with stands in the worker's log, too: an anchor there."""
    return Task("seal", every_seconds, lambda: _seal(connect))


def _seal(connect: Connect) -> dict[str, Any]:
    *_, progress = seal_ledger(connect, wait_seconds=WAIT_SECONDS)
    with closing(connect()) as connection, connection, connection.cursor() as cursor:
        head = fetch_head(cursor)
    return {**progress._asdict(), "head": None if head is None else f"{head.number}:{head.hash.hex()}"}
