"""Dead letters are kept whole; retried they pay at most once; given up they stay, with who and why."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from ops.cli import main
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from sinks.batch import Batch, Coordinates, Delivery
from sinks.database import connector
from sinks.dead_letters import fetch_dead_letters
from sinks.ledger import Identity, Ledger
from streams import rules
from streams.retry import NotRetried, Retried, retry_dead_letter

SPECIALIZATIONS = ("PLAYER", "COACH", "INTERNSHIP")
TIMESTAMP_MS = 1_772_366_400_000
HEADERS = [("trace", b"\x01\xff"), ("none", None)]

Laurels = Callable[..., Any]


def result(**changes: Any) -> bytes:
    event = {
        "event_id": "e1",
        "user_id": 5,
        "tournament_id": 227,
        "status": "final",
        "placement": 1,
        "specialization": "GOALKEEPER",
        "occurred_at": "2026-03-01T10:00:00Z",
    }
    return json.dumps({**event, **changes}).encode()


class Academy:
    def __init__(self, url: str, connection: Connection) -> None:
        self.url = url
        self.connection = connection
        self.connect = connector(url, name="test")

    def deliver(
        self,
        offset: int,
        value: bytes | None,
        specializations: tuple[str, ...] = SPECIALIZATIONS,
        headers: Sequence[tuple[str, bytes | None]] = HEADERS,
    ) -> None:
        parsed = parse("tournament-results", b"5", value, TIMESTAMP_MS, specializations)
        hashed = b"" if isinstance(parsed, Refused) else payload_hash(parsed)
        where = Coordinates("tournament-results", 0, offset, "cluster/topic")
        delivery = Delivery(parsed, where, hashed, b"5", value, headers, TIMESTAMP_MS)
        with closing(Ledger(self.connect, rules, Identity(group="", owner=""))) as ledger:
            ledger.record(Batch([delivery], origin="replay"))

    def let_goalkeepers_in(self) -> None:
        self.query("INSERT INTO specializations VALUES ('GOALKEEPER', 'Goalkeeper', 1)")
        self.query("INSERT INTO specialization_levels VALUES ('GOALKEEPER', 1, 'Keeper', 0)")

    def query(self, statement: str) -> list[Any]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def letter(self, offset: int) -> int:
        return int(self.query(f'SELECT id FROM dead_letters WHERE "offset" = {offset}')[0][0])

    def retry(self, offset: int) -> Retried:
        return retry_dead_letter(self.connect, self.letter(offset), actor="ada")

    def states(self) -> list[Any]:
        return self.query(
            'SELECT "offset", reason, status, attempts, resolved_by, resolution FROM dead_letters ORDER BY id'
        )

    def audited(self) -> list[Any]:
        return self.query("SELECT actor, action, subject FROM audit_log ORDER BY id")

    def xp(self) -> int:
        return int(self.query("SELECT coalesce(sum(amount), 0) FROM xp_transactions")[0][0])


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield Academy(database_url, connection)


@pytest.fixture
def laurels(academy: Academy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Laurels:
    """Run a command; what it printed as JSON, and its exit code."""
    monkeypatch.setenv("DATABASE_URL", academy.url)

    def run(*arguments: str) -> tuple[Any, int]:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        printed = capsys.readouterr().out
        return json.loads(printed) if printed else None, int(exit_.value.code or 0)

    return run


def test_a_dead_letter_keeps_the_bytes_and_headers_of_its_record(academy: Academy) -> None:
    academy.deliver(0, b"\xff\x00{")
    with academy.connection.cursor() as cursor:
        (letter,) = fetch_dead_letters(cursor, [academy.letter(0)]).values()
    assert (letter.key, letter.value) == (b"5", b"\xff\x00{")
    assert letter.headers == HEADERS
    assert letter.produced_at is not None
    assert letter.produced_at.timestamp() * 1000 == TIMESTAMP_MS


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a\0b", "ab"),
        (r"a\u0000b", r"a\u0000b"),
        ("\\\0" + r"\u0000", "\\" + r"\u0000"),
    ],
    ids=["a NUL", "text that spells one", "both, after a backslash"],
)
def test_a_headers_name_is_kept_but_for_its_nuls(academy: Academy, name: str, kept: str) -> None:
    academy.deliver(0, b"{", headers=[(name, b"1")])
    with academy.connection.cursor() as cursor:
        (letter,) = fetch_dead_letters(cursor, [academy.letter(0)]).values()
    assert letter.headers == [(kept, b"1")]


def test_a_retry_after_a_fix_records_the_event_where_it_stood(academy: Academy) -> None:
    academy.deliver(7, result())
    academy.let_goalkeepers_in()
    assert academy.retry(7).outcome == "recorded"
    assert academy.states() == [(7, "invalid_event", "retried", 1, "ada", "recorded")]
    assert academy.query('SELECT event_key, origin, topic, partition, "offset", log_id FROM reward_receipts') == [
        ("tournament_227_result_5", "replay", "tournament-results", 0, 7, "cluster/topic")
    ]
    assert academy.xp() == 500
    place = "tournament-results[0]@7 of cluster/topic"
    assert academy.audited() == [("ada", "dead_letter.recorded", place), ("ada", "dead_letter.retried", place)]


def test_what_was_published_again_meanwhile_is_not_paid_twice(academy: Academy) -> None:
    academy.deliver(7, result())
    academy.let_goalkeepers_in()
    academy.deliver(8, result(), (*SPECIALIZATIONS, "GOALKEEPER"))
    assert academy.retry(7).outcome == "duplicate"
    assert academy.xp() == 500
    assert academy.states() == [(7, "invalid_event", "retried", 1, "ada", "duplicate")]


def test_what_is_wrong_still_stays_open_and_counts_the_attempt(academy: Academy) -> None:
    academy.deliver(7, result())
    retried = academy.retry(7)
    assert (retried.outcome, retried.reason) == ("refused", "invalid_event")
    assert academy.states() == [(7, "invalid_event", "open", 2, None, None)]
    academy.let_goalkeepers_in()
    assert academy.retry(7).outcome == "recorded"


def test_a_retry_that_is_refused_for_another_reason_says_so_and_may_be_final(academy: Academy) -> None:
    academy.deliver(7, result())
    academy.let_goalkeepers_in()
    academy.deliver(8, result(placement=2), (*SPECIALIZATIONS, "GOALKEEPER"))
    assert academy.retry(7).reason == "conflict"
    assert academy.states() == [(7, "conflict", "final", 2, None, None)]
    assert academy.xp() == 300


def test_a_conflict_is_final(academy: Academy) -> None:
    academy.deliver(7, result(specialization="PLAYER"))
    academy.deliver(8, result(specialization="PLAYER", placement=2))
    with pytest.raises(NotRetried, match="is final"):
        academy.retry(8)
    assert academy.states() == [(8, "conflict", "final", 1, None, None)]


def test_a_dead_letter_is_settled_once(academy: Academy) -> None:
    academy.deliver(7, result())
    academy.let_goalkeepers_in()
    academy.retry(7)
    with pytest.raises(NotRetried, match="was retried by ada"):
        academy.retry(7)
    with pytest.raises(NotRetried, match="no dead letter 999"):
        retry_dead_letter(academy.connect, 999, actor="ada")
    assert [action for _, action, _ in academy.audited()] == ["dead_letter.recorded", "dead_letter.retried"]


def test_operators_list_and_show_dead_letters(academy: Academy, laurels: Laurels) -> None:
    academy.deliver(0, b"\xff\x00{")
    academy.deliver(1, result())
    listed, code = laurels("dlq", "list", "--reason", "invalid_event", "--user", "5", "--status", "open", "--json")
    assert code == 0
    assert listed["counts"] == [{"reason": "invalid_event", "status": "open", "count": 1}]
    (letter,) = listed["dead_letters"]
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("tournament-results", 0, 1)
    shown, _ = laurels("dlq", "show", str(academy.letter(0)), "--json")
    assert (shown["value"], shown["value_base64"], shown["key"]) == (None, "/wB7", "5")
    assert shown["headers"] == [["trace", None, "Af8="], ["none", None, None]]
    assert laurels("dlq", "list", "--topic", "level-commands", "--json")[0]["dead_letters"] == []


def test_operators_retry_by_filter_and_learn_what_was_refused_again(academy: Academy, laurels: Laurels) -> None:
    for offset, value in enumerate((result(), b"{", result(tournament_id=228), None)):
        academy.deliver(offset, value)
    academy.let_goalkeepers_in()
    retried, code = laurels("dlq", "retry", "--reason", "invalid_event", "--actor", "ada", "--json")
    assert ([one["outcome"] for one in retried["retried"]], code) == (["recorded", "recorded"], 0)
    retried, code = laurels("dlq", "retry", "--all", "--json")
    assert (retried["refused"], code) == (2, 1)
    assert [state[:3] for state in academy.states()] == [
        (0, "invalid_event", "retried"),
        (1, "undecodable", "open"),
        (2, "invalid_event", "retried"),
        (3, "undecodable", "open"),
    ]


@pytest.mark.parametrize("command", [("retry",), ("drop", "--because", "old")])
def test_operators_must_say_which_dead_letters_they_mean(laurels: Laurels, command: tuple[str, ...]) -> None:
    assert laurels("dlq", *command) == (None, 2)


def test_dropping_needs_a_reason_and_keeps_it(academy: Academy, laurels: Laurels) -> None:
    academy.deliver(0, b"{")
    id_ = str(academy.letter(0))
    assert laurels("dlq", "drop", id_) == (None, 2)
    assert laurels("dlq", "drop", id_, "--because", "  ") == (None, 2)
    assert laurels("dlq", "drop", id_, "--because", "test data", "--actor", "ada", "--json") == (
        {"dropped": [int(id_)]},
        0,
    )
    assert academy.states() == [(0, "undecodable", "dropped", 1, "ada", "test data")]
    assert academy.audited() == [("ada", "dead_letter.dropped", "tournament-results[0]@0 of cluster/topic")]
    assert laurels("dlq", "retry", id_)[1] == 3


def test_dropping_several_is_all_or_nothing(academy: Academy, laurels: Laurels) -> None:
    academy.deliver(0, b"{")
    assert laurels("dlq", "drop", str(academy.letter(0)), "999", "--because", "x") == (None, 3)
    assert [state[2] for state in academy.states()] == ["open"]


def test_lists_read_well_for_people_too(
    academy: Academy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    academy.deliver(0, b"{")
    monkeypatch.setenv("DATABASE_URL", academy.url)
    for arguments in (("dlq", "list"), ("dlq", "show", str(academy.letter(0)))):
        with pytest.raises(SystemExit):
            main(arguments)
    printed = capsys.readouterr().out
    assert "tournament-results[0]@0" in printed
    assert "1 undecodable open" in printed
    assert "value: {" in printed


def test_one_that_cannot_be_retried_keeps_no_other_from_it(academy: Academy, laurels: Laurels) -> None:
    academy.deliver(0, result(), ("PLAYER",))
    academy.deliver(1, result(event_id="e2", placement=2), ("PLAYER",))
    academy.let_goalkeepers_in()
    told, code = laurels("dlq", "retry", "999", str(academy.letter(0)), "--json")
    assert (code, [each["outcome"] for each in told["retried"]]) == (3, ["recorded"])
    assert academy.xp() > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--topic", "nothing"),
        ("list", "--reason", "nothing"),
        ("list", "--since", "2999-01-01"),
        ("list", "--since", "soon"),
        ("retry", "1", "--all"),
        ("retry", "1", "--topic", "tournament-results"),
        ("drop", "1", "--because", "x", "--user", "5"),
    ],
)
def test_a_wrong_use_is_told_before_any_service_is_asked(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(SystemExit) as exit_:
        main(["dlq", *arguments])
    assert (exit_.value.code, capsys.readouterr().out) == (2, "")
