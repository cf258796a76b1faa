"""What it costs that the database itself refuses what parts progress and license."""

from contextlib import closing
from dataclasses import replace
from typing import Final

import psycopg2

from bench.run import Run
from bench.workers import throughput
from sinks.coupling import enforcement

ROUNDS: Final = 4
MOST_EVENTS: Final = 60_000
"""Enough to tell, and few enough for so many rounds."""


def measure_coupling_enforce_cost(run: Run) -> dict[str, object]:
    """How much slower one worker is with coupling enforced, in per cent: the best of four rounds of each, in turns."""
    part = replace(run, events=min(run.events, MOST_EVENTS))
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(ROUNDS):
        # The other way round every time: a machine that slows down or warms up meanwhile does so for both.
        for enforced in (False, True) if number % 2 else (True, False):
            rates[enforced].append(_rate(part, enforced=enforced))
    return {"coupling_enforce_cost_percent": 100 * (1 - max(rates[True]) / max(rates[False]))}


def _rate(run: Run, *, enforced: bool) -> float:
    with run.stand.database() as url:
        if enforced:
            with closing(psycopg2.connect(url)) as connection:
                enforcement.enforce(connection, actor="bench")
        return throughput(run, url, 1)
