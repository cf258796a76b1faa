"""Every word about a person goes; sums, seals and what replays rest on stay."""

import hashlib
import io
from contextlib import closing

import psycopg2
import pytest

from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, TOURNAMENT_RESULTS
from sinks.batch import Batch
from sinks.chain import seal_ledger
from sinks.chain_check import Broken, check_chain
from sinks.database import connector
from sinks.erasure import NotPermitted, erase_user
from sinks.roles import ROLES
from tests.history.conftest import Laurels, Past
from tests.oracle.academy_log import command, result, transfer

WORDS = """
SELECT email FROM users WHERE id = 1
UNION ALL SELECT description FROM xp_transactions WHERE user_id = 1
UNION ALL SELECT description FROM credit_transactions WHERE user_id = 1
UNION ALL SELECT advancement_reason FROM license_progressions JOIN user_licenses l ON l.id = user_license_id
           WHERE user_id = 1
UNION ALL SELECT memo FROM credit_transfers WHERE 1 IN (sender_id, receiver_id)
UNION ALL SELECT encode(value, 'escape') FROM dead_letters
UNION ALL SELECT detail FROM dead_letters
UNION ALL SELECT headers::text FROM dead_letters WHERE headers <> '[]'
UNION ALL SELECT row ->> 'description' FROM migration_removed_rows
"""


def erase(past: Past, user_id: int = 1) -> dict[str, int] | None:
    with closing(psycopg2.connect(past.url)) as connection:
        return erase_user(connection, user_id, actor="ada", reason="request 117")


def tell_words(past: Past) -> None:
    past.query("UPDATE users SET email = 'anna@example.org' WHERE id = 1")
    past.query(
        "INSERT INTO credit_transactions (user_id, transaction_type, amount, idempotency_key, description) "
        "VALUES (1, 'GIFT', 7, 'gift', 'Anna''s birthday'), (2, 'GIFT', 7, 'gift 2', 'Ben''s birthday')"
    )
    past.query(
        "INSERT INTO migration_removed_rows (revision, table_name, row_id, action, reason, row) "
        """VALUES ('0004', 'xp_transactions', 3, 'removed', 'twice', '{"id": 3, "user_id": 1, "description": "A."}')"""
    )
    past.tell(CREDIT_TRANSFERS, {**transfer(2, 1, 0, "none"), "memo": "for Anna"})  # refused: an amount of 0


def test_nothing_about_the_user_is_left_and_every_hash_is(past: Past) -> None:
    tell_words(past)
    words = {word for (word,) in past.query(WORDS) if word}
    assert {"anna@example.org", "for Anna", "back", "she moved up a class", "Anna's birthday", "A."} < words
    ((letter,),) = past.query("SELECT value FROM dead_letters WHERE topic = 'credit-transfers'")
    assert erase(past) is not None
    assert {word for (word,) in past.query(WORDS) if word} == set()
    hashes = {bytes(digest) for (digest,) in past.query("SELECT value_hash FROM erased_values WHERE user_id = 1")}
    for word in (b"anna@example.org", b"for Anna", b"she moved up a class", bytes(letter)):
        assert hashlib.sha256(word).digest() in hashes
    assert past.query("SELECT DISTINCT status, resolved_by, resolution FROM dead_letters") == [
        ("dropped", "ada", "erased")
    ]


def test_the_other_user_s_words_stay(past: Past) -> None:
    tell_words(past)
    erase(past)
    assert past.query("SELECT description FROM credit_transactions WHERE idempotency_key = 'gift 2'") == [
        ("Ben's birthday",)
    ]


def test_seals_and_sums_still_hold(past: Past) -> None:
    tell_words(past)
    *_, progress = seal_ledger(connector(past.url, name="test"))
    assert progress.seals
    balances = past.query("SELECT id, xp_balance, credit_balance FROM users ORDER BY id")
    erase(past)
    with closing(psycopg2.connect(past.url)) as connection:
        assert not [one for one in check_chain(connection) if isinstance(one, Broken)]
    assert past.query("SELECT id, xp_balance, credit_balance FROM users ORDER BY id") == balances


def test_words_put_in_the_place_of_erased_ones_break_the_seal(past: Past) -> None:
    list(seal_ledger(connector(past.url, name="test")))
    erase(past)
    past.tamper_unseen("UPDATE credit_transfers SET memo = 'for Ben' WHERE sender_id = 1")
    with closing(psycopg2.connect(past.url)) as connection:
        found = [(one.kind, one.table) for one in check_chain(connection) if isinstance(one, Broken)]
    assert found == [("changed", "credit_transfers")]


def test_a_replay_of_everything_pays_nothing_and_brings_no_word_back(past: Past) -> None:
    erase(past)
    counted = "SELECT (SELECT count(*) FROM reward_receipts), (SELECT sum(amount) FROM xp_transactions), (SELECT sum(amount) FROM credit_transactions)"
    before = past.query(counted)
    for log in past.topics.records.values():
        past.ledger.record(Batch([past.delivery(each) for each in log], (), "replay"))
    assert past.query(counted) == before
    assert {word for (word,) in past.query(WORDS) if word} == set()


def test_verification_finds_nothing_wrong(past: Past) -> None:
    erase(past)
    assert past.verify().differences == []


def test_a_corrected_or_conflicting_event_afterwards_is_told_as_ever(past: Past) -> None:
    erase(past)
    past.tell(CREDIT_TRANSFERS, transfer(1, 2, 30, "k", memo="for somebody else"))
    past.tell(LEVEL_COMMANDS, command(1, "c", new_level=4, reason="another reason"))
    assert past.query("SELECT reason FROM dead_letters WHERE status = 'final' ORDER BY id") == [("conflict",)] * 2
    past.tell(TOURNAMENT_RESULTS, result(1, 10, 2, revision=2))
    assert past.query("SELECT amount FROM xp_transactions WHERE right(idempotency_key, 3) = '_r2'") == [(-200,)]


def test_erasing_again_takes_what_came_since(past: Past) -> None:
    first = erase(past)
    second = erase(past)
    assert first is not None
    assert second is not None
    assert sum(second.values()) == 0 < sum(first.values())
    past.tell(LEVEL_COMMANDS, command(1, "d", new_level=5, reason="again"))
    third = erase(past)
    assert third is not None
    assert third["license_progressions.advancement_reason"] == 1


@pytest.mark.parametrize("role", ROLES)
def test_only_the_owner_may(past: Past, role: str) -> None:
    with closing(psycopg2.connect(past.url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        with pytest.raises(NotPermitted):
            erase_user(connection, 1, actor="ada", reason="x")
    assert past.query("SELECT count(*) FROM erased_values") == [(0,)]


def test_the_command_tells_what_went_and_leaves_its_reason_in_the_audit_log(past: Past, laurels: Laurels) -> None:
    code, told = laurels("erase", "--user", "1", "--reason", "request 117", "--actor", "ada", "--yes")
    assert (code, told["blanked"]["credit_transfers.memo"]) == (0, 2)
    ((actor, subject, detail),) = past.query(
        "SELECT actor, subject, detail FROM audit_log WHERE action = 'user.erased'"
    )
    assert (actor, subject, detail["reason"]) == ("ada", "user 1", "request 117")
    assert detail["blanked"] == told["blanked"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--user", "404", "--reason", "x", "--yes"), 3),
        (("--user", "1", "--reason", " ", "--yes"), 2),
        (("--user", "0", "--reason", "x", "--yes"), 2),
        (("--user", "1", "--yes"), 2),
        (("--user", "1", "--reason", "x"), 1),  # nobody there to say yes
    ],
)
def test_what_cannot_be_is_refused(
    past: Past, laurels: Laurels, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert laurels("erase", *arguments)[0] == expected
    assert past.query("SELECT count(*) FROM erased_values") == [(0,)]
