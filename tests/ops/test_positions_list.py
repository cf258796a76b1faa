"""`laurels positions list` on a terminal of 80 columns."""

from contextlib import closing

import psycopg2
import pytest
from msgspec import json

from ops.cli import main
from schemas.events import EVENT_TOPICS

OWNER = "worker-7f9c5b7d4-x2x9z-12345-1a2b3c4d"
LOG_ID = "Some-cluster-0123456789/9sDf2kLmQwe45TYuiopASg"
WHY = "offsets 1204 to 1399 are gone unread: the log begins after them"


@pytest.fixture
def positions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three partitions of every topic: one is stopped, and two are owned."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        for topic in EVENT_TOPICS:
            cursor.execute(
                "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset,"
                " epoch, owner, updated_at)"
                " SELECT 'laurels', %s, n, %s, 12345600 + n, 12345700, 40 + n, CASE WHEN n > 0 THEN %s END,"
                " '2026-11-22 01:02:03+00' FROM generate_series(0, 2) AS n",
                (topic, LOG_ID, OWNER),
            )
        cursor.execute(
            "UPDATE partition_positions SET stopped = %s WHERE topic = 'level-commands' AND epoch = 41", (WHY,)
        )
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "80")


def told(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["positions", "list", *options])
    assert exit_.value.code == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("positions")
def test_each_partition_is_a_line_of_whole_words_under_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    printed = told(capsys)
    assert max(map(len, printed.splitlines())) <= 80
    unowned, owned = (
        [line.split() for line in part.splitlines()] for part in printed.split(f"group laurels, owned by {OWNER}\n")
    )
    assert unowned[0] == ["group", "laurels,", "owned", "by", "nobody"]
    for partitions, rows in (((0,), unowned[1:]), ((1, 2), owned)):
        assert rows[0] == ["partition", "next", "end", "lag", "epoch", "log", "updated"]
        assert [row for row in rows[1:] if row[-2:] == ["2026-11-22", "01:02:03"]] == [
            [
                f"{topic}[{n}]",
                str(12345600 + n),
                "12345700",
                str(100 - n),
                str(40 + n),
                "9sDf2kLm",
                "2026-11-22",
                "01:02:03",
            ]
            for topic in sorted(EVENT_TOPICS)
            for n in partitions
        ]


@pytest.mark.usefixtures("positions")
def test_why_a_partition_is_stopped_is_a_sentence_below(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"level-commands[1] is stopped: {WHY}" in " ".join(told(capsys).split())


@pytest.mark.usefixtures("positions")
def test_a_topic_without_positions_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--topic", "none-such") == "no positions\n"


@pytest.mark.usefixtures("positions")
def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    positions = json.decode(told(capsys, "--json", "--topic", "level-commands"))["positions"]
    assert [(one["partition"], one["log_id"], one["owner"], one["stopped"]) for one in positions] == [
        (0, LOG_ID, None, None),
        (1, LOG_ID, OWNER, WHY),
        (2, LOG_ID, OWNER, None),
    ]
