"""A season that was played, and the command line on its database."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ops.cli import main
from schemas.events import Event
from schemas.payload import payload_hash
from sinks.batch import Batch, Delivery
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from streams import rules
from tests.reconciliation.following import Followed
from tests.reconciliation.season import SEASON

Laurels = Callable[..., tuple[int, Any]]


def record(database_url: str, *events: Event) -> None:
    """Record these events, one after the other."""
    with closing(Ledger(connector(database_url, name="t"), rules, Identity("", ""))) as ledger:
        for event in events:
            ledger.record(Batch([Delivery(event, None, payload_hash(event))], origin="cli"))


def play(database_url: str) -> None:
    """A small season with corrections, withdrawals, late results, bonuses and transfers, covered and not."""
    record(database_url, *SEASON)


@pytest.fixture
def season(database_url: str) -> str:
    """A database in which the season was played."""
    play(database_url)
    return database_url


@pytest.fixture
def laurels(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Laurels:
    """Run `laurels reconcile` on a database; its exit code and what it printed, JSON or not."""

    def run(url: str, *arguments: str) -> tuple[int, Any]:
        monkeypatch.setenv("DATABASE_URL", url)
        with pytest.raises(SystemExit) as exit_:
            main(["reconcile", *arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), json.loads(out) if "--json" in arguments and out else out + err

    return run


@pytest.fixture
def make_followed(
    bootstrap_servers: str, database_url: str, namespace: str, tmp_path: Path
) -> Iterator[Callable[[int], Followed]]:
    """A stage with so many partitions, and the topics that reconciliation reads and writes."""
    stages: list[Followed] = []

    def make(partitions: int) -> Followed:
        stages.append(Followed(bootstrap_servers, database_url, namespace, tmp_path, partitions))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()
