"""An academy in memory: topics that keep their records, and a ledger on a real database that records them."""

import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg2

from ops.oracle import Record
from ops.verification.log import Partition, Stretch
from ops.verification.report import Difference, Report
from ops.verification.share import EVERYBODY, Share
from ops.verification.shares import agree
from ops.verification.snapshot import Snapshot
from ops.verification.verification import Verification
from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from schemas.parse import parse
from schemas.payload import payload_hash
from schemas.rewards import Refused
from schemas.ruleset import Ruleset
from sinks.batch import Batch, Checkpoint, Claim, Coordinates, Delivery, Origin, RuleChange
from sinks.database import connector
from sinks.ledger import Identity, Ledger
from sinks.ledger.rulesets import fetch_levels
from sinks.positions import LogState
from sinks.replay_runs import ReplayRun, create_run
from sinks.ruleset_store import store_ruleset
from streams import rules

GROUP = "laurels"
OWNER = "tester"
SHARES = 2
LEVELS = {
    "PLAYER": (0, 500, 1500, 3000, 5000, 8000, 12000, 18000),
    "COACH": (0, 1000, 2500, 4500, 7000, 10000, 14000, 20000),
    "INTERNSHIP": (0, 1000, 3000),
}
TOPICS = (TOURNAMENT_RESULTS, SESSION_ATTENDANCE, LEVEL_COMMANDS, CREDIT_TRANSFERS, TOURNAMENT_ROSTERS)
KEY_FIELDS = {CREDIT_TRANSFERS: "sender_id", TOURNAMENT_ROSTERS: "tournament_id"}
AT = "2026-03-01T10:00:00Z"
NOON_MS = 1_772_362_800_000


def result(user_id: int, tournament_id: int, placement: int | None, **others: Any) -> dict[str, Any]:
    """A tournament result as upstream publishes it."""
    return {
        "event_id": f"r-{user_id}-{tournament_id}",
        "user_id": user_id,
        "tournament_id": tournament_id,
        "status": "final",
        "placement": placement,
        "occurred_at": AT,
        **others,
    }


def presence(user_id: int, session_id: int, status: str = "present", **others: Any) -> dict[str, Any]:
    """A session attendance as upstream publishes it."""
    return {
        "event_id": f"p-{user_id}-{session_id}",
        "user_id": user_id,
        "session_id": session_id,
        "status": status,
        "occurred_at": AT,
        **others,
    }


def command(user_id: int, command_id: str, **others: Any) -> dict[str, Any]:
    """A level command as upstream publishes it."""
    return {"command_id": command_id, "user_id": user_id, "occurred_at": AT, **others}


def transfer(sender_id: int, receiver_id: int, amount: int, key: str, **others: Any) -> dict[str, Any]:
    """A credit transfer as upstream publishes it."""
    return {
        "idempotency_key": key,
        "sender_id": sender_id,
        "receiver_id": receiver_id,
        "amount": amount,
        "occurred_at": AT,
        **others,
    }


def record(topic: str, offset: int, event: Mapping[str, Any] | bytes | None, partition: int = 0) -> Record:
    """The record in which `event` (or these bytes, under the key 1) stands on its topic."""
    if event is None or isinstance(event, bytes):
        return Record(topic, partition, offset, b"1", event, NOON_MS)
    key = str(event[KEY_FIELDS.get(topic, "user_id")]).encode()
    return Record(topic, partition, offset, key, json.dumps(event).encode(), NOON_MS)


class _Reader:
    def __init__(
        self, logs: Mapping[Partition, Sequence[Record]], stretches: Mapping[Partition, Stretch], share: Share
    ) -> None:
        self._left = {
            where: deque(r for r in logs[where] if part.start <= r.offset < part.end and share.takes(r.key))
            for where, part in stretches.items()
        }

    def next(self, where: Partition) -> Record | None:
        left = self._left[where]
        return left.popleft() if left else None

    def close(self) -> None:
        self._left.clear()


@dataclass
class MemoryTopics:
    """Topics of one partition each. Those in `forgotten` start at the offset there, as retention would have it."""

    log_ids: dict[str, str] = field(default_factory=lambda: {topic: f"memory/{topic}" for topic in TOPICS})
    records: dict[Partition, list[Record]] = field(default_factory=lambda: {(topic, 0): [] for topic in TOPICS})
    starts: dict[str, int] = field(default_factory=dict)

    def append(self, topic: str, event: Mapping[str, Any] | bytes | None) -> Record:
        """Publish one event."""
        log = self.records[topic, 0]
        log.append(record(topic, log[-1].offset + 1 if log else 0, event))
        return log[-1]

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        """The logs as a broker would tell them."""
        return {
            where: LogState(
                self.log_ids[where[0]],
                self.starts.get(where[0], 0),
                self.records[where][-1].offset + 1 if self.records[where] else 0,
            )
            for where in partitions
        }

    def read(self, stretches: Mapping[Partition, Stretch], share: Share = EVERYBODY) -> _Reader:
        """A reader of what is kept of the share."""
        return _Reader(self.records, stretches, share)


class Academy:
    """Delivers what stands on the topics to a ledger, in batches, and verifies the outcome."""

    def __init__(self, database_url: str, log_ids: dict[str, str] | None = None) -> None:
        self.url = database_url
        self.topics = MemoryTopics() if log_ids is None else MemoryTopics(log_ids)
        self._connect = connector(database_url, name="oracle-test")
        self.ledger = Ledger(self._connect, _RULES, Identity(GROUP, OWNER))
        self._read = dict.fromkeys(TOPICS, 0)
        with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
            self._levels = fetch_levels(cursor)
            for topic in TOPICS:
                cursor.execute(
                    "INSERT INTO partition_positions (consumer_group, topic, partition, log_id, next_offset, end_offset, epoch, owner)"
                    " VALUES (%s, %s, 0, %s, 0, 0, 1, %s)",
                    (GROUP, topic, self.topics.log_ids[topic], OWNER),
                )
        connection.close()

    def publish(self, topic: str, *events: Mapping[str, Any] | bytes | None) -> None:
        """Put events on a topic, undelivered."""
        for event in events:
            self.topics.append(topic, event)

    def deliver(self, topics: Sequence[str] = TOPICS, most: int = 1_000_000) -> None:
        """Record one batch: of each topic, up to `most` records that were not read yet, topics one after the other."""
        deliveries: list[Delivery] = []
        claims = []
        for topic in topics:
            log = self.topics.records[topic, 0]
            start = self._read[topic]
            fresh = log[start : start + most]
            if fresh:
                deliveries += [self.delivery(each) for each in fresh]
                self._read[topic] = start + len(fresh)
                end = fresh[-1].offset + 1
                begin = log[start - 1].offset + 1 if start else 0
                claims.append(Claim(topic, 0, 1, begin, end, end))
        if deliveries:
            self.ledger.record(Batch(deliveries, claims))

    def tell(self, topic: str, *events: Mapping[str, Any] | bytes | None) -> None:
        """Publish and deliver events."""
        self.publish(topic, *events)
        self.deliver((topic,))

    def apply_directly(self, topic: str, event: Mapping[str, Any], origin: Origin = "http") -> None:
        """Record an event that never was on a topic."""
        parsed = self.delivery(record(topic, 0, event))
        self.ledger.record(Batch([Delivery(parsed.parsed, None, parsed.payload_hash)], (), origin))

    def change_rules(self, run: str, ruleset: Ruleset, since: Mapping[str, int]) -> None:
        """Decide again, by another ruleset, what was delivered from these offsets on, as a replay does."""
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            store_ruleset(cursor, ruleset, "tester")
            create_run(cursor, ReplayRun(run, "running", {}, {}, requested_by="tester"))
        connection.close()
        read = [each for topic in TOPICS for each in self.topics.records[topic, 0][since[topic] : self._read[topic]]]
        change = RuleChange(run, ruleset, allow_decrease=True)
        deliveries = [self.delivery(each) for each in read]
        self.ledger.record(Batch(deliveries, (), "replay", checkpoint=Checkpoint(run, {}), rule_change=change))

    def delivery(self, each: Record) -> Delivery:
        """The record as the pipeline would hand it to the ledger."""
        parsed = parse(each.topic, each.key, each.value, each.timestamp_ms, self._levels)
        return Delivery(
            parsed,
            Coordinates(each.topic, each.partition, each.offset, self.topics.log_ids[each.topic]),
            b"" if isinstance(parsed, Refused) else payload_hash(parsed),
            each.key,
            each.value,
            (),
            each.timestamp_ms,
        )

    def start_over(self) -> None:
        """Empty the topics, as a broker does that keeps them in memory."""
        self.topics.records = {where: [] for where in self.topics.records}
        self._read = dict.fromkeys(TOPICS, 0)

    def verify(self) -> Report:
        """Verify the database against the topics: in one piece, and in shares, which must find just as much."""
        with closing(Snapshot(self._connect)) as snapshot:
            report = Verification(snapshot, self.topics, GROUP).run()
            together = self._prove_in_shares(snapshot)
        assert together == (None if report.differences else report)
        return report

    def _prove_in_shares(self, snapshot: Snapshot) -> Report | None:
        proofs = []
        for number in range(SHARES):
            with closing(Snapshot(self._connect, Share(number, SHARES), snapshot.export())) as seen:
                proofs.append(Verification(seen, self.topics, GROUP).prove())
        with closing(snapshot.digests()) as digests:
            return agree(proofs, snapshot, digests)

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the statement finds, or does, in a transaction of its own."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def tamper(self, *statements: str) -> None:
        """Change the database as only its owner can: with every trigger of ours taken off."""
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")
            for (table,) in cursor.fetchall():
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            for statement in statements:
                cursor.execute(statement)
        connection.close()

    def close(self) -> None:
        """Give the ledger's connection back."""
        self.ledger.close()


def named(differences: Iterable[Difference]) -> list[tuple[str, str]]:
    """Table and key of each difference, in an order of their own."""
    return sorted((difference.table, difference.key) for difference in differences)


_RULES: Any = SimpleNamespace(
    decide=rules.decide, adjust=rules.adjust, base_key=rules.base_key, results_needed=rules.results_needed
)
