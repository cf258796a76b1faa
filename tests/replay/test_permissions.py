"""Operators' commands by a login that may only read: what reads works, what writes is refused in so many words."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from tests.oracle.academy_log import Academy
from tests.replay.rows import Laurels, everything, restore_empty

RULES = Path("schemas/rulesets/academy.toml")

READING = {
    "verify": 1,
    "replay plan": 0,
    "replay status": 0,
    "repair plan": 1,
    "dlq list": 0,
    "positions list": 0,
    "ledger balance --user 1": 0,
    "ledger verify-chain": 0,
    f"rules simulate {RULES}": 0,
    "explain user 1": 0,
}
"""Commands, and what they exit with."""

WRITING = {
    "replay apply": ("table replay_runs", "laurels_operator"),
    "replay apply --rules CHANGED": ("table rulesets", "laurels_operator"),
    "repair apply": ("table users", "laurels_operator"),
    "dlq retry 1": ("table dead_letters", "laurels_operator"),
    "dlq drop 1 --because hopeless": ("table dead_letters", "laurels_operator"),
    "positions adopt": ("table partition_positions", "laurels_operator"),
    "positions skip tournament-results 0": ("table partition_positions", "laurels_operator"),
    "ledger seal": ("sequence xp_transactions_id_seq", "laurels_operator"),
    "rules publish CHANGED": ("table rulesets", "laurels_operator"),
    "erase --user 1 --reason asked --yes": ("table users", "the tables' owner"),
}
"""Commands, what they are kept from, and who may use them."""


@pytest.fixture(params=["laurels_readonly"])
def login(academy: Academy, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The commands run as a login that was granted one role and nothing else."""
    login, password = f"login_{secrets.token_hex(4)}", secrets.token_hex(8)
    with closing(psycopg2.connect(academy.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM tournament_badges WHERE user_id = 2")
            cursor.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{password}' IN ROLE {request.param}")
            parts = urlsplit(academy.url)
            netloc = f"{login}:{password}@{parts.netloc.rpartition('@')[2]}"
            monkeypatch.setenv("DATABASE_URL", urlunsplit(parts._replace(netloc=netloc)))
            yield
            cursor.execute(f"DROP ROLE {login}")


@pytest.mark.usefixtures("login")
def test_what_only_reads_takes_no_more_than_the_right_to_read(laurels: Laurels) -> None:
    for command, exits in READING.items():
        laurels(*command.split(), exits=exits)


@pytest.mark.usefixtures("login")
def test_what_writes_says_what_it_may_not_touch_and_who_may(academy: Academy, laurels: Laurels, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(RULES.read_text(encoding="utf-8").replace("xp = 500", "xp = 550"), encoding="utf-8")
    before = everything(academy.url)
    for command, (kept_from, role) in WRITING.items():
        said = laurels(*command.replace("CHANGED", str(changed)).split(), exits=3)
        refusal = f"permission denied for {kept_from}; it takes a user who is, or was granted, {role}"
        assert f"laurels: Postgres does not permit it: {refusal}" in said, command
    assert everything(academy.url) == before


OPERATING = {
    "repair apply": 0,
    "replay plan --rules CHANGED": 0,
    "replay apply --rules CHANGED": 0,
    "rules publish CHANGED": 0,
    "dlq drop 1 --because hopeless": 0,
    "positions adopt": 0,
    "sync plan": 0,
    "ledger seal": 0,
    "verify": 0,
    "erase --user 1 --reason asked --yes": 3,
    "tokens list": 0,
    "tokens create mine --role admin": 3,
}
"""What an operator does, and the two things that others do."""


@pytest.mark.parametrize("login", ["laurels_operator"], indirect=True)
@pytest.mark.usefixtures("login")
def test_an_operator_needs_no_role_but_its_own_and_makes_no_tokens(laurels: Laurels, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(RULES.read_text(encoding="utf-8").replace("xp = 500", "xp = 550"), encoding="utf-8")
    for command, exits in OPERATING.items():
        laurels(*command.replace("CHANGED", str(changed)).split(), exits=exits)


@pytest.mark.parametrize("login", ["laurels_operator"], indirect=True)
@pytest.mark.usefixtures("login")
def test_what_a_replays_ledger_may_not_touch_is_told_in_the_same_words(academy: Academy, laurels: Laurels) -> None:
    restore_empty(academy, [1, 2])
    academy.tamper("REVOKE INSERT ON xp_transactions FROM laurels_operator")
    said = laurels("replay", "apply", exits=3)
    refusal = "permission denied for table xp_transactions; it takes a user who is, or was granted, laurels_operator"
    assert f"laurels: Postgres does not permit it: {refusal}" in said
