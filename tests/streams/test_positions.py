"""Positions: the fence, the claims, and what a person may decide about them."""

from collections.abc import Iterable, Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from ops.cli import main
from schemas.errors import Fenced, LaurelsError, SteppedOver, WrongCluster
from sinks import position_moves
from sinks.batch import Claim
from sinks.positions import LogState, Partition, advance, claim, reached, refuse_other_cluster, release, stopped
from streams.logs import Logs
from tests.ops.broker import create_topics

GROUP = "laurels"
ME = "worker-1"
RIVAL = "worker-2"
T0 = ("tournament-results", 0)
T1 = ("tournament-results", 1)
LOG = LogState("cluster/topic", 0, 10)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection


def take(connection: Connection, owner: str = ME, log: LogState = LOG, where: tuple[str, int] = T0) -> int:
    with connection, connection.cursor() as cursor:
        return claim(cursor, GROUP, owner, 1, {where: log})[where].epoch


def move(connection: Connection, *claims: Claim, owner: str = ME) -> None:
    with connection, connection.cursor() as cursor:
        advance(cursor, GROUP, owner, claims)


def stretch(epoch: int, from_offset: int, next_offset: int, where: tuple[str, int] = T0) -> Claim:
    return Claim(*where, epoch, from_offset, next_offset, 10)


def next_offsets(connection: Connection) -> list[int]:
    with connection, connection.cursor() as cursor:
        return [position.next_offset for position in position_moves.list_positions(cursor, GROUP, None)]


def log_ids(connection: Connection) -> set[str]:
    with connection, connection.cursor() as cursor:
        return {position.log_id for position in position_moves.list_positions(cursor, GROUP, None)}


def firing(connection: Connection) -> list[tuple[str, str]]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind, subject FROM reward_alerts WHERE status = 'firing' ORDER BY 1, 2")
        return cursor.fetchall()


def test_a_batch_moves_the_positions_that_it_claims(connection: Connection) -> None:
    first, second = take(connection), take(connection, where=T1)
    move(connection, stretch(second, 0, 4, T1), stretch(first, 0, 7))
    assert next_offsets(connection) == [7, 4]


@pytest.mark.parametrize("change", ["owner", "epoch", "unknown partition"])
def test_whoever_lost_a_partition_is_fenced(connection: Connection, change: str) -> None:
    epoch = take(connection)
    if change == "epoch":
        take(connection)
    with pytest.raises(Fenced) as refusal:
        move(
            connection,
            stretch(epoch, 0, 5, T1 if change == "unknown partition" else T0),
            owner=RIVAL if change == "owner" else ME,
        )
    assert refusal.value.topic == "tournament-results"
    assert next_offsets(connection) == [0]


@pytest.mark.parametrize("begins", [4, 6])
def test_a_batch_that_does_not_begin_where_the_position_ends_has_stepped_over(
    connection: Connection, begins: int
) -> None:
    epoch = take(connection)
    move(connection, stretch(epoch, 0, 5))
    with pytest.raises(SteppedOver, match="the position is 5"):
        move(connection, stretch(epoch, begins, 8))
    assert next_offsets(connection) == [5]


def test_one_lost_partition_holds_the_whole_batch_back(connection: Connection) -> None:
    first, second = take(connection), take(connection, where=T1)
    take(connection, owner=RIVAL, where=T1)
    with pytest.raises(Fenced):
        move(connection, stretch(first, 0, 5), stretch(second, 0, 5, T1))
    assert next_offsets(connection) == [0, 0]


def test_a_commit_whose_answer_was_lost_is_recognized_by_its_positions(connection: Connection) -> None:
    epoch = take(connection)
    ours = [stretch(epoch, 0, 5)]
    with connection.cursor() as cursor:
        assert not reached(cursor, GROUP, ME, ours)
        advance(cursor, GROUP, ME, ours)
        assert reached(cursor, GROUP, ME, ours)
        assert not reached(cursor, GROUP, RIVAL, ours)


def test_without_a_position_the_log_is_read_from_its_start(connection: Connection) -> None:
    take(connection, log=LogState("cluster/topic", 3, 10))
    assert next_offsets(connection) == [3]


def test_each_claim_takes_a_higher_epoch(connection: Connection) -> None:
    epochs = [take(connection, owner) for owner in (ME, RIVAL, ME)]
    assert epochs == sorted(set(epochs))


def test_a_topic_made_anew_is_read_from_its_start_and_what_was_unread_is_told(connection: Connection) -> None:
    epoch = take(connection)
    move(connection, stretch(epoch, 0, 7))
    with connection, connection.cursor() as cursor:
        position = claim(cursor, GROUP, ME, 2, {T0: LogState("cluster/anew", 0, 2)})[T0]
    assert (position.next_offset, position.unread, position.log_id) == (0, 3, "cluster/anew")
    assert firing(connection) == [("OPS-07", "tournament-results/0")]


def test_a_topic_made_anew_after_it_was_read_to_its_end_raises_nothing(connection: Connection) -> None:
    epoch = take(connection)
    move(connection, stretch(epoch, 0, 10))
    take(connection, log=LogState("cluster/anew", 0, 2))
    assert next_offsets(connection) == [0]
    assert firing(connection) == []


def test_another_cluster_is_refused_until_it_is_adopted(connection: Connection) -> None:
    epoch = take(connection)
    move(connection, stretch(epoch, 0, 7))
    moved = LogState("elsewhere/topic", 2, 9)
    with pytest.raises(WrongCluster, match="laurels positions adopt"):
        take(connection, log=moved)
    with connection, connection.cursor() as cursor, pytest.raises(WrongCluster):
        refuse_other_cluster(cursor, GROUP, "elsewhere")
    with connection, connection.cursor() as cursor:
        adopted = position_moves.adopt(cursor, GROUP, "elsewhere", {T0: moved}, "ada")
    assert [position.unread for position in adopted] == [3]
    with pytest.raises(Fenced):
        move(connection, stretch(epoch, 2, 3))
    take(connection, log=moved)
    assert next_offsets(connection) == [2]
    assert audited(connection) == [("ada", "positions adopt", "tournament-results/0")]
    assert firing(connection) == [("OPS-07", "tournament-results/0")]


def test_adopting_forgets_partitions_that_are_not_there_any_more(connection: Connection) -> None:
    take(connection)
    take(connection, where=T1)
    with connection, connection.cursor() as cursor:
        position_moves.adopt(cursor, GROUP, "elsewhere", {T0: LogState("elsewhere/topic", 0, 0)}, "ada")
    assert len(next_offsets(connection)) == 1


def test_kafka_is_asked_outside_any_transaction_and_what_came_meanwhile_is_not_forgotten(
    connection: Connection,
    database_url: str,
    bootstrap_servers: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [T0[0], "tournament-rosters"]
    create_topics(bootstrap_servers, [namespace + topic for topic in asked])
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("LAURELS_TOPIC_PREFIX", namespace)
    monkeypatch.setenv("LAURELS_GROUP", GROUP)
    take(connection)
    ask = Logs.states

    def begin_another_topic(logs: Logs, partitions: Iterable[Partition]) -> dict[Partition, LogState]:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'laurels positions' AND state <> 'idle'"
            )
            assert cursor.fetchall() == []
        take(connection, where=("tournament-rosters", 0))
        return ask(logs, partitions)

    with monkeypatch.context() as patched:
        patched.setattr(Logs, "states", begin_another_topic)
        with pytest.raises(SystemExit) as refused:
            main(["positions", "adopt"])
    assert refused.value.code == 3
    assert "group laurels began to read tournament-rosters while Kafka was asked" in capsys.readouterr().err
    assert log_ids(connection) == {LOG.log_id}
    with pytest.raises(SystemExit) as done:
        main(["positions", "adopt"])
    assert done.value.code == 0
    assert LOG.log_id not in log_ids(connection)
    assert len(next_offsets(connection)) == len(asked)


@pytest.mark.parametrize(
    ("log", "goes_on"),
    [
        pytest.param(LogState("cluster/topic", 8, 10), 8, id="retention passed the position"),
        pytest.param(LogState("cluster/topic", 0, 3), 3, id="the log was cut off"),
        pytest.param(LogState("cluster/topic", 6, 10), 6, id="of one record"),
        pytest.param(LogState("cluster/topic", 0, 4), 4, id="cut off by one record"),
    ],
)
def test_a_hole_stops_its_partition_until_somebody_accepts_it(
    connection: Connection, log: LogState, goes_on: int
) -> None:
    epoch = take(connection)
    move(connection, stretch(epoch, 0, 5))
    epoch = take(connection, log=log)
    assert next_offsets(connection) == [5]
    assert firing(connection) == [("OPS-08", "tournament-results/0")]
    with connection, connection.cursor() as cursor:
        assert stopped(cursor, GROUP) == {T0}
        position_moves.skip(cursor, GROUP, T0, log, "ada")
        assert stopped(cursor, GROUP) == set()
    assert next_offsets(connection) == [goes_on]
    with pytest.raises(Fenced):
        move(connection, stretch(epoch, goes_on, 10))
    assert firing(connection) == []
    assert audited(connection) == [("ada", "positions skip", "tournament-results/0")]


@pytest.mark.parametrize(
    "log", [LogState("cluster/topic", 5, 10), LogState("cluster/topic", 0, 5)], ids=["start", "end"]
)
def test_a_log_that_starts_or_ends_right_where_the_position_is_has_no_hole(
    connection: Connection, log: LogState
) -> None:
    move(connection, stretch(take(connection), 0, 5))
    take(connection, log=log)
    assert firing(connection) == []


def test_the_alert_of_a_hole_names_the_missing_range(connection: Connection) -> None:
    take(connection)
    take(connection, log=LogState("cluster/topic", 8, 10))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT annotations ->> 'found' FROM reward_alerts")
        assert "offsets 0 to 7 are gone unread" in str(cursor.fetchone())


def test_what_is_not_stopped_cannot_be_skipped(connection: Connection) -> None:
    take(connection)
    with connection, connection.cursor() as cursor, pytest.raises(LaurelsError, match="not stopped"):
        position_moves.skip(cursor, GROUP, T0, LOG, "ada")


def test_what_is_missing_of_a_log_that_was_made_anew_meanwhile_cannot_be_skipped(connection: Connection) -> None:
    take(connection)
    take(connection, log=LogState("cluster/topic", 8, 10))
    with connection, connection.cursor() as cursor:
        with pytest.raises(LaurelsError, match="another log by now"):
            position_moves.skip(cursor, GROUP, T0, LogState("cluster/anew", 0, 10), "ada")
        assert stopped(cursor, GROUP) == {T0}


def test_a_log_is_known_to_reach_as_far_as_it_was_read(connection: Connection) -> None:
    move(connection, stretch(take(connection), 0, 12))
    with connection, connection.cursor() as cursor:
        (position,) = position_moves.list_positions(cursor, GROUP, None)
        assert (position.next_offset, position.end_offset, position.lag) == (12, 12, 0)


def test_a_clean_leave_leaves_no_owner(connection: Connection) -> None:
    epoch = take(connection)
    with connection, connection.cursor() as cursor:
        release(cursor, GROUP, ME)
        assert [position.owner for position in position_moves.list_positions(cursor, GROUP, None)] == [None]
    with pytest.raises(Fenced):
        move(connection, stretch(epoch, 0, 5))


def audited(connection: Connection) -> list[tuple[str, str, str]]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT actor, action, subject FROM audit_log ORDER BY id")
        return cursor.fetchall()
