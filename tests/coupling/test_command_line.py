"""`laurels sync` and `laurels coupling`, as an operator or a script sees them."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.cli import build_app
from schemas.errors import LaurelsError
from tests.coupling.stand import Stand


@pytest.fixture
def laurels(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABASE_URL", stand.url)

    def run(*arguments: str, code: int = 0) -> Any:
        answer = CliRunner().invoke(build_app(arguments), [*arguments, "--json"])
        if isinstance(answer.exception, LaurelsError):
            raise answer.exception
        assert answer.exit_code == code, answer.output
        return json.loads(answer.stdout)

    return run


def test_desyncs_are_found_planned_applied_and_then_kept_away(stand: Stand, laurels: Any) -> None:
    stand.part(1, "PLAYER", 2, 3)
    stand.part(2, "COACH", 4, None)
    found = laurels("sync", "find", code=1)
    assert [desync["user_id"] for desync in found["desyncs"]] == [1, 2]
    assert found["counts"]["level_mismatch"] == found["counts"]["progress_without_license"] == 1
    assert laurels("coupling", "check", "1", "PLAYER", code=1)["mode"] == "observe"
    with pytest.raises(LaurelsError, match="mend them first"):
        laurels("coupling", "enforce")
    planned = laurels("sync", "plan", "--source", "license", "--reason", "by hand", "--actor", "otto")
    assert planned["plan"]["items"] == 2
    assert [item["new_level"] for item in planned["items"]] == [3, 4]
    stand.run("UPDATE user_licenses SET current_level = 5, max_achieved_level = 5")
    applied = laurels("sync", "apply", planned["plan"]["id"], code=1)
    assert applied["counts"] == {"synced": 1, "changed": 1}
    assert applied["left"][0]["user_id"] == 1
    again = laurels("sync", "plan", "--user", "1")
    assert laurels("sync", "apply", again["plan"]["id"])["counts"] == {"synced": 1}
    assert laurels("sync", "find")["desyncs"] == []
    assert laurels("coupling", "enforce") == {"mode": "enforce"}
    assert laurels("coupling", "check", "1", "PLAYER")["mode"] == "enforce"
    assert laurels("coupling", "observe") == {"mode": "observe"}


def test_what_there_is_not_is_said(laurels: Any) -> None:
    with pytest.raises(LaurelsError, match="no specialization 'WIZARD'"):
        laurels("sync", "find", "--specialization", "WIZARD")
    with pytest.raises(LaurelsError, match="no plan 'none'"):
        laurels("sync", "apply", "none")
