"""`laurels up`: one command, everything in it, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest
from dotenv import dotenv_values
from msgspec import json

from tests.services.run import ROOT

DEADLINE_SECONDS = 180.0
COMMAND = [sys.executable, "-m", "ops.cli", "up"]


def environ(**more: str) -> dict[str, str]:
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAURELS_", "DATABASE_", "KAFKA_")) or name == "LAURELS_TEST_RUN"
    }
    return ours | {"PYTHONPATH": str(ROOT), "LAURELS_HTTP_PORT": "0"} | more


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="laurels-up-") as name:
        Path(name).chmod(0o755)  # Postgres may have to run as somebody else
        yield Path(name)


def play(folder: Path, *arguments: str, **more: str) -> tuple[int, dict[str, float]]:
    done = subprocess.run(
        [*COMMAND, "--once", "--json", *arguments],
        cwd=folder,
        env=environ(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.decode(done.stdout.splitlines()[-1])


@contextmanager
def running(folder: Path, *arguments: str, until: str = "running") -> Iterator[subprocess.Popen[str]]:
    """`laurels up`, as soon as it has said a line that begins with `until`."""
    with subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environ(), stderr=subprocess.PIPE, text=True) as up:
        try:
            assert up.stderr is not None
            said = []
            for line in up.stderr:
                said.append(line)
                if line.startswith(until):
                    break
            assert up.poll() is None and said[-1].startswith(until), "".join(said)  # noqa: PT018
            yield up
        finally:
            up.kill()


def tree(process: int) -> set[int]:
    """The processes that `process` has started, and those that they have."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def runs(process: int) -> bool:
    """Whether it has not ended, reaped or not."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: set[int]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := {process for process in processes if runs(process)}:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_season_is_played_and_proved_and_the_next_start_goes_on_with_the_same_data(
    folder: Path,
) -> None:
    code, first = play(folder)
    assert (code, first["differences"]) == (0, 0)
    assert first["published"] == first["recorded"] + first["duplicates"] + first["dead_letters"]
    assert first["recorded"] > 1_000
    assert first["duplicates"] > 0
    assert first["dead_letters"] > 0
    code, again = play(folder)
    assert (code, again["differences"]) == (0, 0)
    assert again["published"] == first["published"]
    assert again["recorded"] == 0
    assert not (folder / ".laurels" / "env").exists()


def test_ctrl_c_stops_everything_and_until_then_other_commands_find_the_services(folder: Path) -> None:
    with running(folder) as up:
        children = tree(up.pid)
        assert len(children) > 3
        offered = dotenv_values(folder / ".laurels" / "env")
        assert (folder / ".laurels" / "env").stat().st_mode & 0o077 == 0
        assert offered["DATABASE_URL"] is not None
        with closing(psycopg2.connect(offered["DATABASE_URL"])) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM reward_receipts")
        topics = [sys.executable, "-m", "ops.cli", "topics", "--json"]
        found = subprocess.run(topics, cwd=folder, env=environ(), capture_output=True, text=True, check=True)
        assert json.decode(found.stdout) == {"created": []}
        second = subprocess.run(COMMAND, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
        assert second.returncode == 3
        assert "runs in this folder already" in second.stderr
        up.send_signal(signal.SIGINT)
        up.wait(DEADLINE_SECONDS)
        assert up.returncode == 0
    wait_until_gone(children)
    assert not (folder / ".laurels" / "env").exists()


@pytest.mark.parametrize(
    ("number", "arguments", "code"),
    [
        (signal.SIGTERM, (), 0),
        (signal.SIGHUP, (), 0),
        (signal.SIGKILL, (), -9),
        (signal.SIGINT, ("--once", "--json"), 130),
    ],
)
def test_nothing_is_left_behind_however_it_ends_even_while_it_starts(
    folder: Path, number: signal.Signals, arguments: tuple[str, ...], code: int
) -> None:
    with running(folder, *arguments, until="topics") as up:
        children = tree(up.pid)
        assert len(children) > 2
        up.send_signal(number)
        up.wait(DEADLINE_SECONDS)
        assert up.returncode == code
    wait_until_gone(children)


def test_when_a_child_dies_the_others_are_stopped_and_the_child_is_named(folder: Path) -> None:
    with running(folder, until="topics") as up:
        children = tree(up.pid)
        tansu = next(child for child in children if "tansu" in command_of(child))
        os.kill(tansu, signal.SIGKILL)
        _, said = up.communicate(timeout=DEADLINE_SECONDS)
        assert up.returncode == 3
    assert "laurels: the broker ended with -9" in said
    wait_until_gone(children)


def command_of(pid: int) -> str:
    """A process's command line; nothing of one that has ended, as the short-lived ones that migrate do."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_services_that_are_given_are_used_and_left_running(
    folder: Path, database_url: str, real_kafka: str, namespace: str
) -> None:
    code, summary = play(
        folder,
        DATABASE_URL=database_url,
        KAFKA_BOOTSTRAP_SERVERS=real_kafka,
        LAURELS_TOPIC_PREFIX=namespace,
        LAURELS_GROUP=namespace,
    )
    assert (code, summary["differences"]) == (0, 0)
    assert not (folder / ".laurels" / "postgres").exists()
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM partition_positions WHERE consumer_group = %s", (namespace,))
        assert cursor.fetchone() == (20,)


def test_what_apache_kafka_holds_is_there_after_a_restart(folder: Path, real_kafka: str) -> None:
    (folder / ".cache").symlink_to(ROOT / ".cache")
    code, first = play(folder, "--broker", "kafka")
    assert (code, first["differences"]) == (0, 0)
    code, again = play(folder, "--broker", "kafka")
    assert (code, again["differences"], again["recorded"]) == (0, 0, 0)
