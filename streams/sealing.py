"""Seals the ledger in the background and checks the seals, as scheduled work: one worker at a time does it for all."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, TypeVar

from schemas.alerts import AlertSeen
from sinks.alerts import raise_alerts, resolve_absent
from sinks.chain import seal_ledger
from sinks.chain_check import Broken, check_chain, fetch_head
from sinks.database import Connect, transaction
from streams.schedule import Task

WAIT_SECONDS: Final = 5.0
"""Who writes for longer is waited for by the next round."""

CHECKING: Final = "verify-chain"
"""The task of checking the seals now and then."""
TAMPERED: Final = "OPS-11"
SHOWN: Final = 5
"""So much of what differs under one seal is said in an alert; the rest is counted."""

Step = TypeVar("Step")


def sealing_task(connect: Connect, *, every_seconds: float) -> Task:
    """Seal what has settled, every so often. The head it answers with stands in the worker's log, too: an anchor there."""
    return Task("seal", every_seconds, lambda: _seal(connect))


def _seal(connect: Connect) -> dict[str, Any]:
    *_, progress = _giving_way(seal_ledger(connect, wait_seconds=WAIT_SECONDS))
    with transaction(connect) as cursor:
        head = fetch_head(cursor)
    return {**progress._asdict(), "head": None if head is None else f"{head.number}:{head.hash.hex()}"}


def chain_task(connect: Connect, *, every_seconds: float) -> Task:
    """Check the seals, every so often: an alert for each seal under which something is not as it was."""
    return Task(CHECKING, every_seconds, lambda: _check(connect))


def _check(connect: Connect) -> dict[str, Any]:
    seals = rows = 0
    counts: Counter[str] = Counter()
    shown: dict[str, list[Broken]] = {}
    with closing(connect()) as connection:
        for found in _giving_way(check_chain(connection)):
            if isinstance(found, Broken):
                subject = found.table if found.seal is None else f"{found.table} under seal {found.seal}"
                counts[subject] += 1
                if counts[subject] <= SHOWN:
                    shown.setdefault(subject, []).append(found)
            else:
                seals, rows = found.seals, found.rows
        seen = [_tampered(subject, some, counts[subject]) for subject, some in shown.items()]
        with connection, connection.cursor() as cursor:
            raise_alerts(cursor, seen)
            resolve_absent(cursor, [TAMPERED], None, seen)
    return {"seals": seals, "rows": rows, "broken": counts.total()}


def _giving_way(steps: Iterable[Step]) -> Iterator[Step]:
    """Rest after each step for as long as it took: however much there is to do, recording has the other half."""
    began = time.monotonic()
    for step in steps:
        yield step
        time.sleep(time.monotonic() - began)
        began = time.monotonic()


def _tampered(subject: str, some: Sequence[Broken], count: int) -> AlertSeen:
    details = [one.detail if one.row_id is None else f"row {one.row_id} {one.detail}" for one in some]
    return AlertSeen(
        kind=TAMPERED,
        subject=subject,
        expected="all as it was sealed",
        found="; ".join(details) + (f"; and {count - SHOWN} more" if count > SHOWN else ""),
        labels={"table": some[0].table} | ({} if some[0].seal is None else {"seal": str(some[0].seal)}),
    )
