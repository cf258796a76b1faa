"""An academy on a real broker and a real database, with the command line pointed at both."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ops.cli import main
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from tests.oracle.academy_log import AT, Academy, command, presence, result, transfer
from tests.oracle.test_verify import Broker
from tests.replay.rows import SKILLS, WHY, Laurels


@pytest.fixture
def broker(bootstrap_servers: str, namespace: str) -> Iterator[Broker]:
    broker = Broker(bootstrap_servers, namespace)
    yield broker
    broker.close()


@pytest.fixture
def academy(database_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Academy]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.settings["bootstrap.servers"])
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", broker.namespace)
    academy = Academy(database_url, broker.log_ids)
    academy.tell(
        TOURNAMENT_RESULTS,
        *[result(user, 10, user, participants=5, skills=SKILLS) for user in range(1, 6)],
        *[result(user, 11, 6 - user, skills=SKILLS, occurred_at="2026-02-01T10:00:00Z") for user in range(1, 6)],
        b"{",
        result(2, 10, 3, revision=2),
        result(1, 11, None, revision=2, status="withdrawn"),
    )
    academy.tell(SESSION_ATTENDANCE, *[presence(1, session, theory_hours=1) for session in range(1, 12)])
    academy.tell(
        LEVEL_COMMANDS, command(1, "up", new_level=4, xp_change=50, advanced_by=2, reason=WHY), command(3, "nothing")
    )
    academy.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "paid", memo="for the shoes"), transfer(4, 5, 100_000, "refused"))
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, 2))
    academy.tell(TOURNAMENT_ROSTERS, {"tournament_id": 10, "participants": 5, "finalized_at": AT})
    academy.tell(TOURNAMENT_ROSTERS, {"tournament_id": 10, "participants": 6, "finalized_at": AT})
    broker.publish(academy)
    yield academy
    academy.close()


@pytest.fixture
def laurels(capsys: pytest.CaptureFixture[str]) -> Laurels:
    """Runs a command with `--json`: its answer, once its exit code is the one expected."""

    def run(*arguments: str, exits: int = 0) -> Any:
        with pytest.raises(SystemExit) as exit_:
            main([*arguments, "--json"])
        told = capsys.readouterr()
        assert exit_.value.code == exits, told.err or told.out
        return json.loads(told.out) if told.out else told.err

    return run
