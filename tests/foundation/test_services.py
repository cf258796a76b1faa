"""The services that tests stand on, and that `laurels up` starts."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from ops.embedded.broker import brokers_answering
from ops.embedded.child import Child, NotStarted
from ops.embedded.kafka import ApacheKafka, NoKafka, fetch_jars
from ops.embedded.postgres import SPEED_OVER_SAFETY, EmbeddedPostgres, NoPostgres, find_binaries, version_of
from ops.embedded.tansu import Tansu
from tests.services.choice import CACHE
from tests.services.run import ROOT


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that Postgres's own user can reach: pytest's are closed to everyone else."""
    with tempfile.TemporaryDirectory(prefix="laurels-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()
        return list(cursor.fetchall()) if cursor.description else []


def test_each_test_has_a_database_of_its_own(database_url: str, legacy_url: str) -> None:
    assert rows(database_url, "SELECT count(*) FROM users") == [(0,)]
    assert rows(legacy_url, "SELECT count(*) FROM credit_transactions") == [(599,)]


@pytest.mark.parametrize("binaries", list(find_binaries()), ids=lambda folder: str(version_of(folder)))
def test_postgres_starts_again_on_the_same_data(
    binaries: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.embedded.postgres.find_binaries", lambda: iter([binaries]))
    first = EmbeddedPostgres(open_folder)
    url = first.start()
    try:
        rows(url, "CREATE TABLE kept AS SELECT 227 AS id")
        assert rows(url, "SHOW checkpoint_timeout") == [("15min",)]
    finally:
        first.stop()
    assert first.exit_code() == 0
    again = EmbeddedPostgres(open_folder, settings=SPEED_OVER_SAFETY)
    try:
        assert rows(again.start(), "SELECT id FROM kept") == [(227,)]
    finally:
        again.stop()


def test_data_of_a_postgres_that_is_gone_are_refused_by_name(open_folder: Path) -> None:
    (open_folder / "data").mkdir()
    (open_folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(NoPostgres, match="made by Postgres 9, which is not installed"):
        EmbeddedPostgres(open_folder).start()


def test_the_embedded_postgres_lets_nobody_in_without_its_password(open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder, settings=SPEED_OVER_SAFETY)
    try:
        url = server.start()
        port = url.rpartition(":")[2]
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(f"postgresql://laurels@127.0.0.1:{port}")
    finally:
        server.stop()


def test_the_embedded_broker_comes_and_goes(tmp_path: Path) -> None:
    broker = Tansu(tmp_path)
    try:
        servers = broker.start()
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic("t", 3)])["t"].result(60)
        assert broker.exit_code() is None
    finally:
        broker.stop()
    assert broker.exit_code() is not None


def three_nodes(folder: Path) -> ApacheKafka:
    try:
        fetch_jars(CACHE)
    except NoKafka as missing:
        pytest.skip(str(missing))
    return ApacheKafka(folder, nodes=3, cache=CACHE)


def creates_topic(servers: str, name: str) -> bool:
    """Whether the cluster has a controller that answers; a new client does not remember the one that is gone."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    try:
        admin.create_topics([NewTopic(name, 1, 2)], request_timeout=3)[name].result(5)
    except (KafkaException, TimeoutError) as error:
        return isinstance(error, KafkaException) and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    return True


def test_three_nodes_of_apache_kafka_survive_the_loss_of_one(tmp_path: Path) -> None:
    cluster = three_nodes(tmp_path)
    try:
        servers = cluster.start()
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        admin.create_topics([NewTopic("t", 1, 3, config={"min.insync.replicas": "2"})])["t"].result(60)
        cluster.stop_node(1)
        deadline = time.monotonic() + 120
        while not creates_topic(servers, "after"):
            assert time.monotonic() < deadline, cluster.last_words()
        cluster.start_node(1)
        while brokers_answering(servers) < 3:
            assert time.monotonic() < deadline, cluster.last_words()
            time.sleep(0.1)
    finally:
        cluster.stop()


def test_a_server_that_ends_instead_of_starting_says_why(tmp_path: Path) -> None:
    child = Child("the server", [sys.executable, "-c", "raise SystemExit('no such port')"], log=tmp_path / "log")
    with pytest.raises(NotStarted, match="the server ended with 1 instead of starting: no such port"):
        child.wait_until(lambda: False, seconds=60)


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    child = Child("the server", ["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(NotStarted, match="did not answer within"):
        child.wait_until(lambda: False, seconds=0.1)
    assert child.exit_code() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_a_killed_parent_leaves_no_server_behind(tmp_path: Path) -> None:
    program = (
        "import time, sys; from pathlib import Path; from ops.embedded.child import Child\n"
        "print(Child('x', ['sleep', '60'], log=Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}/stat").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, f"{child} is still there"
        time.sleep(0.02)


def test_a_run_that_requires_apache_kafka_fails_without_it(tmp_path: Path) -> None:
    (tmp_path / "test_pure.py").write_text("def test_nothing(): pass\n")
    environ = {name: value for name, value in os.environ.items() if name != "LAURELS_TEST_RUN"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        env=environ | {"LAURELS_REQUIRE_REAL_KAFKA": "1", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout
    assert "no test used Apache Kafka" in done.stdout
    assert done.returncode == 1
