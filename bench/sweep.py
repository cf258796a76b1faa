"""A sweep of everybody, as an operator runs it: `laurels reconcile`, and with `--full` the comparison with the topics."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import psycopg2

from bench.errors import BenchFailed
from bench.plants import PLANTS, Where
from bench.preload import ROWS_PER_EVENT, preload
from bench.run import Run
from bench.workers import GROUP

ENTRIES_PER_EVENT: Final = 50
USERS_PER_EVENT: Final = 5
"""Of the 200,000 events of a run come ten million entries of a million users."""
ENTRIES_PER_LOADED: Final = 3.5
"""XP, credits and skill rewards that one loaded event leaves."""
RECONCILE: Final = ("-m", "ops.cli", "reconcile", "--json")
FULL: Final = (*RECONCILE, "--full")
GIVE_UP_SECONDS: Final = 3_600
HOLDS, DIFFERENT = 0, 1

COUNTS: Final = """
SELECT (SELECT count(*) FROM xp_transactions) + (SELECT count(*) FROM credit_transactions)
           + (SELECT count(*) FROM skill_rewards),
       (SELECT id FROM users ORDER BY id OFFSET (SELECT count(*) FROM users) / 2 LIMIT 1)
"""


def measure_sweep(run: Run) -> dict[str, object]:
    """`laurels reconcile` over a million users and ten million entries (fifty an event): nothing, then with `--full` what was planted."""
    events = run.events * ENTRIES_PER_EVENT / ENTRIES_PER_LOADED
    with run.stand.database() as url, run.stand.topics() as prefix:
        preload(url, int(events * ROWS_PER_EVENT), events / (run.events * USERS_PER_EVENT))
        run.stand.checkpoint()
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(COUNTS)
            ((entries, victim),) = cursor.fetchall()
        clean, seconds = _time(run, RECONCILE, url, prefix, HOLDS)
        where = Where(user=victim, other=victim, number=0)
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(PLANTS["INV-R01"].broken, where.parameters())
        broken, full_seconds = _time(run, FULL, url, prefix, DIFFERENT)
        found = [(one["invariant"], one["subject"]) for one in broken["violations"]]
        if found != PLANTS["INV-R01"].due("INV-R01", where):
            raise BenchFailed(f"a sweep finds {found[:3]} where INV-R01 of user {victim} was planted")
    return {
        "sweep": {
            "users": clean["users"],
            "entries": entries,
            "seconds": seconds,
            "full_seconds": full_seconds,
            "seconds_per_million_entries": seconds / entries * 1_000_000,
            "violations": len(clean["violations"]),
            "planted": 1,
            "found": len(found),
        }
    }


def _time(run: Run, command: Sequence[str], url: str, prefix: str, code: int) -> tuple[Any, float]:
    """What the command says, and how long it took from its start to its end."""
    environ = run.stand.environ(url, prefix, group=GROUP)
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, *command],
        env=environ,
        cwd=run.stand.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP_SECONDS,
    )
    seconds = time.monotonic() - began
    if ran.returncode != code:
        raise BenchFailed(f"reconcile ended with {ran.returncode}, not {code}: {ran.stderr[-500:]}{ran.stdout[:500]}")
    return json.loads(ran.stdout), seconds
