"""A season with all that happens in one, followed by reconciliation: how many alerts say what is not so."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg2

from bench.errors import BenchFailed
from bench.following import following, wait_until_followed
from bench.kills import kill_until_recorded, publish_season, season_of
from bench.run import Run
from bench.workers import GROUP
from schemas.events import TOURNAMENT_RESULTS

KILL_EVERY_SECONDS: Final = 15.0
SWEEP_EVERY_SECONDS: Final = 60
REPLAY_EVERY_SECONDS: Final = 20.0
REPLAY: Final = ("replay", "apply", "--topic", TOURNAMENT_RESULTS, "--partitions", "0", "--rate", "5000", "--json")
COMMAND_SECONDS: Final = 600.0
LONG_AGO_HOURS: Final = 500_000
"""The season lies in the past, and its results come within minutes: none of them is late."""

DUE: Final = frozenset({"OPS-01", "OPS-02", "OPS-03", "OPS-05"})
"""What a season with conflicts, poison, killed workers and a full speed brings with it. A debt is due where there was one."""

ALERTS: Final = """
SELECT a.kind, a.subject, a.annotations ->> 'found',
       a.kind = 'OPS-06' AND EXISTS (
           SELECT FROM (SELECT sum(amount) OVER (ORDER BY receipt_seq, id) AS balance
                          FROM credit_transactions WHERE user_id = (a.labels ->> 'user_id')::bigint) AS balances
            WHERE balance < 0)
  FROM reward_alerts a ORDER BY a.kind, a.subject
"""


def measure_false_alerts(run: Run) -> dict[str, object]:
    """A season by two workers, one killed every 15 s, replayed meanwhile and swept: how many alerts were not due."""
    stand = run.stand
    grace = {"roster_warning_hours": LONG_AGO_HOURS, "roster_critical_hours": LONG_AGO_HOURS}
    with stand.database() as url, stand.topics() as prefix:
        published = publish_season(stand, prefix, season_of(run.events))
        began = time.monotonic()
        with (
            following(stand, url, prefix, sweep_interval_seconds=SWEEP_EVERY_SECONDS, **grace) as reconciling,
            _replaying(run, url, prefix) as replays,
        ):
            kills = kill_until_recorded(
                stand,
                url,
                prefix,
                published,
                every_seconds=KILL_EVERY_SECONDS,
                then=lambda: wait_until_followed(stand, url, prefix, reconciling),
            )
        seconds = time.monotonic() - began
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(ALERTS)
            alerts = cursor.fetchall()
    wrong = [(kind, subject, found) for kind, subject, found, debt in alerts if kind not in DUE and not debt]
    if wrong:
        kinds = Counter(kind for kind, _, _ in wrong)
        print(f"not due: {dict(kinds)}, such as {wrong[:3]}", file=sys.stderr)
    return {
        "season_false_alerts": {
            "events": published,
            "kills": kills,
            "replays": len(replays),
            "seconds": round(seconds, 1),
            "alerts": len(alerts),
            "false": len(wrong),
        }
    }


@contextmanager
def _replaying(run: Run, url: str, prefix: str) -> Iterator[list[int]]:
    """Replay what was recorded again and again until the end of the block; the list has the exit codes."""
    stop = threading.Event()
    codes: list[int] = []
    failed: list[str] = []

    def replay() -> None:
        while not stop.wait(REPLAY_EVERY_SECONDS):
            ran = subprocess.run(
                [sys.executable, "-m", "ops.cli", *REPLAY],
                env=run.stand.environ(url, prefix, group=GROUP),
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
            codes.append(ran.returncode)
            if ran.returncode:
                failed.append(" ".join(ran.stderr.decode(errors="replace").split())[-300:])

    thread = threading.Thread(target=replay, daemon=True)
    thread.start()
    try:
        yield codes
    finally:
        stop.set()
        thread.join()
    if failed:
        raise BenchFailed(f"replay ended with {codes}: {failed[0]}")
