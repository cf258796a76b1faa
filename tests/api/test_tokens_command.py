"""`laurels tokens`: a secret is shown once, and kept nowhere."""

import os
import subprocess
import sys
from typing import Any

from msgspec import json

from tests.api.serving import Served


def laurels(api: Served, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "tokens", *arguments, "--json"],
        env=os.environ | {"DATABASE_URL": api.database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.decode(done.stdout) if done.stdout else done.stderr


def test_a_token_is_made_used_listed_and_revoked(api: Served) -> None:
    code, made = laurels(api, "create", "scoreboard", "--role", "viewer", "--days", "1", "--actor", "ada")
    assert code == 0
    with api.client(made["token"]) as client:
        assert client.get("/api/v1/alerts").status_code == 200
        _, listed = laurels(api, "list")
        assert made["token"].rpartition("_")[2] not in str(listed)
        (ours,) = (token for token in listed["tokens"] if token["prefix"] == made["prefix"])
        assert (ours["name"], ours["role"], ours["created_by"], ours["state"]) == (
            "scoreboard",
            "viewer",
            "ada",
            "good",
        )
        assert laurels(api, "revoke", made["prefix"], "--actor", "ada")[0] == 0
        assert client.get("/api/v1/alerts").status_code == 401
    assert laurels(api, "revoke", made["prefix"])[0] == 3
    assert laurels(api, "revoke", "all")[0] == 2
    stored = api.query("SELECT api_tokens::text || encode(secret_hash, 'escape') FROM api_tokens")
    assert made["token"].rpartition("_")[2] not in str(stored)
    actions = api.query("SELECT action FROM audit_log WHERE actor = 'ada' ORDER BY id")
    assert actions == [("tokens.created",), ("tokens.revoked",)]
