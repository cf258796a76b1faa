"""What it costs that the database itself refuses what parts progress and license."""

from contextlib import closing
from typing import Final

import psycopg2

from bench.run import Run
from bench.sink import record_all
from sinks.coupling import enforcement

ROUNDS: Final = 3


def measure_coupling_enforce_cost(run: Run) -> dict[str, object]:
    """How much slower the recording path is with coupling enforced, in per cent: the best of three rounds of each."""
    observed: list[float] = []
    enforced: list[float] = []
    # In turns, so that a machine that slows down meanwhile slows both.
    for _ in range(ROUNDS):
        observed.append(_seconds(run, enforced=False))
        enforced.append(_seconds(run, enforced=True))
    return {"coupling_enforce_cost_percent": 100 * (min(enforced) / min(observed) - 1)}


def _seconds(run: Run, *, enforced: bool) -> float:
    with run.stand.database() as url:
        if enforced:
            with closing(psycopg2.connect(url)) as connection:
                enforcement.enforce(connection, actor="bench")
        return record_all(url, run.records, part=0, parts=1)
