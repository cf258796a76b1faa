"""What a batch has to tell leaves with it: entries, dead letters and alerts stand in the outbox once it is committed."""

from contextlib import closing

import psycopg2

from schemas.events import REWARD_ALERTS, REWARD_ENTRIES, TOURNAMENT_RESULTS, dead_letter_topic
from sinks.outbox import LANES, OutboxMessage, take
from tests.oracle.academy_log import Academy, result


def leaving(academy: Academy) -> list[OutboxMessage]:
    """All that waits in the outbox, in order."""
    with closing(psycopg2.connect(academy.url)) as connection, connection, connection.cursor() as cursor:
        return [message for row in take(cursor, range(LANES), 1_000) for message in row.messages]


def test_another_payload_under_a_recorded_key_changes_nothing_and_is_told(academy: Academy) -> None:
    said = result(1, 10, placement=1)
    academy.tell(TOURNAMENT_RESULTS, said, result(1, 10, placement=2), said)
    with closing(psycopg2.connect(academy.url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT amount FROM xp_transactions")
        assert cursor.fetchall() == [(500,)]
        cursor.execute('SELECT id, "offset", reason, status, event_key FROM dead_letters')
        ((letter, *kept),) = cursor.fetchall()
        cursor.execute("SELECT kind, subject, status FROM reward_alerts")
        alerts = cursor.fetchall()
    assert kept == [1, "conflict", "final", "tournament_10_result_1"]
    assert alerts == [("OPS-01", "tournament_10_result_1", "firing")]
    told = leaving(academy)
    assert {(message.topic, message.dead_letter) for message in told} == {
        (REWARD_ENTRIES, None),
        (dead_letter_topic(TOURNAMENT_RESULTS), letter),
        (REWARD_ALERTS, None),
    }
    # By these, whoever reads the topics knows a repetition: they come of what is told, and of nothing else.
    assert {message.id for message in told if message.topic != REWARD_ALERTS} == {
        "recorded:tournament_10_result_1",
        "dead-letter:memory/tournament-results:tournament-results:0:1",
    }


def test_what_comes_again_tells_nothing_again(academy: Academy) -> None:
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, placement=1))
    told = leaving(academy)
    assert [message.topic for message in told] == [REWARD_ENTRIES]
    academy.tell(TOURNAMENT_RESULTS, result(1, 10, placement=1, event_id="another name of it"))
    assert leaving(academy) == told
