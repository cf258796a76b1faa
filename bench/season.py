"""An operator's season: recorded, put back to an older backup for some users, replayed, killed, verified, re-ruled.

Everything an operator would do is done by the real commands, each a process of its own; what an owner of the database
would do (the backup and its restoration) is plain SQL.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg2
from msgspec import json
from psycopg2.extensions import cursor as Cursor

from bench.errors import BenchFailed
from bench.restoring import OWNED, PROGRESSIONS, back_up, choose_users, restore
from bench.run import Run
from bench.stand import Stand
from bench.watching import LOOK_SECONDS, STALLED_SECONDS, check, watch
from bench.workers import GROUP, workers
from ops.embedded.child import Child
from schemas.events import TOURNAMENT_RESULTS

WORKERS: Final = 2
KILLS: Final = 10
RESTORED_USERS: Final = 1_000
RESTORED_SHARE: Final = 10
"""Where there are few users, one in so many is restored."""
EVENTS_PER_USER: Final = 10
RECORDS_PER_TOURNAMENT: Final = 42
RECORDS_PER_SESSION: Final = 33
"""What one of each comes to, corrections and repetitions included, if half of the records are of each kind."""
COMMAND_SECONDS: Final = 1_800

READ: Final = "SELECT coalesce(sum(next_offset), 0) FROM partition_positions WHERE consumer_group = %s"
REPLAYED: Final = """
SELECT id, (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(counts))
  FROM replay_runs WHERE status = 'running' ORDER BY created_at DESC LIMIT 1
"""
WRITTEN: Final = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables
 WHERE schemaname = current_schema() AND relname = ANY(%s)
"""
XP: Final = "SELECT coalesce(sum(xp_balance), 0) FROM users"
RAISE: Final = ("xp = 500", "xp = 550")
"""What the candidate says of champions, in place of what the academy's rules say."""
REWARD_TABLES: Final = (*OWNED, PROGRESSIONS, "semesters", "sessions", "tournament_rosters", "dead_letters", "outbox")

Members = dict[str, object]


def measure_season(run: Run) -> dict[str, object]:
    """A season of so many events; 1,000 users restored from an older backup, mended by replay, also under kill -9."""
    with (
        run.stand.database() as url,
        run.stand.topics() as prefix,
        TemporaryDirectory(prefix="season-", dir=run.stand.folder) as folder,
        closing(psycopg2.connect(url)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        academy = _Academy(run.stand, url, prefix, Path(folder), cursor)
        members = academy.record(run.events)
        users = academy.choose()
        members |= academy.mend(users)
        members |= academy.replay_everything()
        members |= academy.mend_under_kills(users)
        members |= academy.change_rules()
    return {"season": members}


@dataclass(slots=True)
class _Academy:
    """The academy of one season: its database, its topics, and the commands on both."""

    stand: Stand
    url: str
    prefix: str
    folder: Path
    cursor: Cursor
    recorded_per_second: float = 0.0

    # The season.

    def record(self, events: int) -> Members:
        """Publish and record the season, half by half, with a backup in between."""
        published = counted = 0
        seconds = 0.0
        for half in self._generate(events):
            if published:
                back_up(self.cursor)
            published += self.laurels("publish", str(half))[0]["published"]
            with workers(self.stand, self.url, self.prefix, WORKERS, relay=True) as working:
                progress = watch(self.url, lambda cursor: _number(cursor, READ, GROUP), published, working)
            counted += progress.last - progress.first
            seconds += progress.last_at - progress.first_at
        if not counted:
            raise BenchFailed("each half came in one commit, which is nothing to time: give --events more")
        self.recorded_per_second = counted / seconds
        return {
            "events": published,
            "record_seconds": _short(published / self.recorded_per_second),
            "record_events_per_s": round(self.recorded_per_second),
        }

    def _generate(self, events: int) -> list[Path]:
        season = self.folder / "season.jsonl"
        self._run(
            *("generate", "--users", str(max(events // EVENTS_PER_USER, 50)), "--output", str(season)),
            *("--tournaments", str(max(events // RECORDS_PER_TOURNAMENT, 1))),
            *("--sessions", str(max(events // RECORDS_PER_SESSION, 1)), "--poison", "0.01"),
        )
        lines = season.read_bytes().splitlines(keepends=True)
        halves = [self.folder / "first.jsonl", self.folder / "second.jsonl"]
        halves[0].write_bytes(b"".join(lines[: len(lines) // 2]))
        halves[1].write_bytes(b"".join(lines[len(lines) // 2 :]))
        season.unlink()
        return halves

    # What is put back, and mended.

    def choose(self) -> list[int]:
        """The users that an older backup is restored for."""
        known = _number(self.cursor, "SELECT count(*) FROM users")
        return choose_users(self.cursor, min(RESTORED_USERS, max(known // RESTORED_SHARE, 2)))

    def _restore(self, users: list[int]) -> int:
        connection = self.cursor.connection
        connection.autocommit = False
        with connection:
            lost = restore(self.cursor, users)
        connection.autocommit = True
        return lost

    def mend(self, users: list[int]) -> Members:
        """Restore the older backup of `users`, plan the replay, apply it, verify."""
        lost = self._restore(users)
        plan, plan_seconds = self.laurels("replay", "plan")
        if not plan["changes"]:
            raise BenchFailed("the restored backup lost nothing: there is nothing to mend")
        applied, apply_seconds = self.laurels("replay", "apply", "--plan", plan["plan"])
        differences, verify_seconds = self.verify()
        return {
            "restored_users": len(users),
            "restored_rows_lost": lost,
            "plan_seconds": _short(plan_seconds),
            "plan_events_per_s": round(plan["events"] / plan["seconds"]),
            "plan_rows": sum(plan["changes"].values()),
            "plan_users": len(plan["users"]),
            "apply_seconds": _short(apply_seconds),
            "apply_events_per_s": applied["events_per_second"],
            "apply_recorded": applied["counts"]["recorded"],
            "differences": differences,
            "verify_seconds": _short(verify_seconds),
            "verify_events_per_s": round(applied["events"] / verify_seconds),
        }

    def replay_everything(self) -> Members:
        """Replay all of it once more, and count the rows that were written."""
        before = self._written()
        replayed, seconds = self.laurels("replay", "apply")
        return {
            "replay_seconds": _short(seconds),
            "replay_events_per_s": replayed["events_per_second"],
            "replay_ratio": round(replayed["events_per_second"] / self.recorded_per_second, 2),
            "replay_recorded": replayed["counts"]["recorded"],
            "replay_rows": self._written() - before,
        }

    def _written(self) -> int:
        self.cursor.execute("SELECT pg_stat_clear_snapshot()")
        return _number(self.cursor, WRITTEN, list(REWARD_TABLES))

    def mend_under_kills(self, users: list[int]) -> Members:
        """Restore the older backup again; kill the replay that mends it ten times, and resume it each time."""
        self._restore(users)
        total = _number(self.cursor, READ, GROUP)
        began = time.monotonic()
        arguments = ["apply", "--rate", str(max(total // (2 * KILLS), 1))]
        for kill in range(1, KILLS + 1):
            command = ("-m", "ops.cli", "replay", *arguments)
            with self.stand.process("replay", command, database=self.url, prefix=self.prefix) as child:
                arguments = ["resume", self._wait_until_replayed(total * kill // (KILLS + 1), child)]
                os.kill(child.pid, signal.SIGKILL)
        self.laurels("replay", *arguments)
        seconds = time.monotonic() - began
        differences, _ = self.verify()
        return {"kills": KILLS, "kills_seconds": _short(seconds), "kills_differences": differences}

    def _wait_until_replayed(self, events: int, replaying: Child) -> str:
        deadline = time.monotonic() + STALLED_SECONDS
        while time.monotonic() < deadline:
            self.cursor.execute(REPLAYED)
            row = self.cursor.fetchone()
            if row is not None and row[1] >= events:
                return str(row[0])
            check([replaying])
            time.sleep(LOOK_SECONDS)
        raise BenchFailed(f"the replay does not come to {events} events: {replaying.last_words()}")

    # Other rules.

    def change_rules(self) -> Members:
        """Give champions more: simulate that, apply it to the season's results, verify, and explain one of them."""
        candidate = self.folder / "candidate.toml"
        candidate.write_text(resources.read_text("schemas.rulesets", "academy.toml").replace(*RAISE, 1))
        results = ("--topic", TOURNAMENT_RESULTS)
        simulated, simulate_seconds = self.laurels("rules", "simulate", str(candidate), *results)
        before = _number(self.cursor, XP)
        applied, apply_seconds = self.laurels("replay", "apply", "--rules", str(candidate), *results)
        posted = _number(self.cursor, XP) - before
        foreseen = simulated["would_have"]["xp"] - simulated["has"]["xp"]
        if posted != foreseen:
            raise BenchFailed(f"the simulation foresaw {foreseen} XP more, and {posted} were posted")
        champion = simulated["users"][0]["user_id"]
        story, explain_seconds = self.laurels("explain", "user", str(champion))
        if not any(receipt["ruleset"] == simulated["ruleset"] for receipt in story["receipts"]):
            raise BenchFailed(f"nothing in the story of user {champion} names the new ruleset")
        differences, _ = self.verify()
        return {
            "rules_users": len(simulated["users"]),
            "rules_simulate_seconds": _short(simulate_seconds),
            "rules_apply_seconds": _short(apply_seconds),
            "rules_adjusted": applied["counts"]["adjusted"],
            "rules_xp": posted,
            "rules_explain_seconds": _short(explain_seconds),
            "rules_differences": differences,
        }

    # Commands.

    def verify(self) -> tuple[int, float]:
        """How many rows differ, and how long it took to know."""
        report, _ = self.laurels("verify", allowed=(0, 1))
        return len(report["differences"]), report["seconds"]

    def laurels(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> tuple[Any, float]:
        """The answer of a command, and how many seconds it took."""
        began = time.monotonic()
        output = self._run(*arguments, "--json", allowed=allowed)
        return json.decode(output.splitlines()[-1]), time.monotonic() - began

    def _run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> bytes:
        ran = subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments],
            env=self.stand.environ(self.url, self.prefix, group=GROUP),
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if ran.returncode not in allowed:
            said = " ".join(ran.stderr.decode(errors="replace").split())[-500:]
            raise BenchFailed(f"laurels {' '.join(arguments[:2])} ended with {ran.returncode}: {said}")
        return ran.stdout


def _number(cursor: Cursor, statement: str, *values: object) -> int:
    cursor.execute(statement, values)
    ((number,),) = cursor.fetchall()
    return int(number)


def _short(seconds: float) -> float:
    return round(seconds, 1)
