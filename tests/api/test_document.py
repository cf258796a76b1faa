"""Schemathesis against the served document: no answer outside it, and none that says the server is to blame."""

import os
import subprocess
import sys
from pathlib import Path

from tests.api.conftest import Wired

HERE = Path(__file__).parent


def test_no_request_gets_an_answer_that_the_document_does_not_name(wired: Wired, tmp_path: Path) -> None:
    fill(wired)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{wired.api.url}/openapi.json", "--header", f"Authorization: Bearer {wired.api.tokens['admin']}"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "10", "--seed", "1", "--no-color"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert "Operations" in done.stdout


def fill(wired: Wired) -> None:
    """Something behind the ids that are tried first, so that more is met than things that are not there."""
    wired.api.rich(1, 5, 7)
    wired.api.query(
        'INSERT INTO dead_letters (id, topic, log_id, partition, "offset", reason, detail, key, value)'
        " SELECT n, 'credit-transfers', 'l', 0, n, 'invalid_event', '', '1', '{}' FROM generate_series(1, 20) AS n"
    )
    wired.api.query(
        "INSERT INTO reward_alerts (fingerprint, kind, subject, severity, status, labels, annotations)"
        " VALUES ('3f9c2b7a51d04e683f9c2b7a51d04e68', 'INV-R01', 'user 5', 'critical', 'firing', '{}', '{}')"
    )
    wired.api.query("INSERT INTO replay_runs (id, status, request, requested_by) VALUES ('0', 'planned', '{}', 'ada')")
    wired.api.query("INSERT INTO user_licenses (user_id, specialization_type, current_level) VALUES (1, 'PLAYER', 3)")
    with wired.api.client(role="admin") as client:
        said = {"command_id": "c", "user_id": 5, "xp_change": 600}
        assert client.post("/api/v1/level-commands", json=said).status_code == 201
