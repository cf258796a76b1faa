"""What a verification keeps in memory does not grow with what happened, only with whom it happened to."""

import gc
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from ops.oracle import Record
from ops.oracle.state import Source
from ops.verification.log import Partition, Stretch
from ops.verification.report import EventAt
from ops.verification.share import EVERYBODY, Share
from ops.verification.snapshot import LetterRow
from schemas.events import CREDIT_TRANSFERS, SESSION_ATTENDANCE, TOURNAMENT_RESULTS, TOURNAMENT_ROSTERS
from sinks.positions import LogState
from tests.oracle.academy_log import AT, Academy, MemoryTopics, named, presence, result, transfer

KEPT = 20
IDS = range(1, 75)


class CountingTopics:
    """Topics whose readers look, every now and then, how much of what was read of them is still there.

    Records are made anew as they are handed out: those that stand on the topics do not count.
    """

    def __init__(self, topics: MemoryTopics) -> None:
        self._topics = topics
        self.most: dict[type, int] = {Source: 0, Record: 0, LetterRow: 0}

    def states(self, partitions: Collection[Partition]) -> dict[Partition, LogState]:
        return self._topics.states(partitions)

    def read(self, stretches: Mapping[Partition, Stretch], share: Share = EVERYBODY) -> "_CountingReader":
        return _CountingReader(self._topics.read(stretches, share), self.most)


class _CountingReader:
    def __init__(self, reader: Any, most: dict[type, int]) -> None:
        self._reader = reader
        self._most = most
        self._on_topics = _alive(Record)
        self._looks = count(1)

    def next(self, where: Partition) -> Record | None:
        record: Record | None = self._reader.next(where)
        if next(self._looks) % 50 == 0:
            for kind in self._most:
                self._most[kind] = max(self._most[kind], _alive(kind) - (kind is Record) * self._on_topics)
        return None if record is None else Record(*record)

    def close(self) -> None:
        self._reader.close()


def _alive(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.fixture
def academy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Academy]:
    for bound in ("shelf.KEPT", "shelf.KEPT_ROSTERS", "waiting.WAITING", "at_once.KEPT"):
        monkeypatch.setattr(f"ops.verification.{bound}", KEPT)
    academy = Academy(database_url)
    results = [result(user, id_, 1 + id_ % 9) for id_ in IDS for user in (1, 2)]
    academy.tell(TOURNAMENT_RESULTS, *results)
    # Recorded user by user: all records of user 2 wait until those of user 1 are folded, and these follow them.
    presences = [presence(user, id_) for id_ in IDS for user in (1, 2)]
    academy.tell(SESSION_ATTENDANCE, *presences, *presences, *[b"{" for _ in IDS])
    for number in IDS:
        academy.apply_directly(CREDIT_TRANSFERS, transfer(1, 2, 1, f"t{number}"))
    academy.tell(CREDIT_TRANSFERS, *(transfer(1, 2, 1, f"t{number}") for number in IDS))
    academy.tell(TOURNAMENT_ROSTERS, *(roster(id_) for id_ in IDS))
    # What comes up again was written out long ago.
    academy.tell(TOURNAMENT_RESULTS, *results[:10], *(result(1, id_, 9, revision=2) for id_ in range(1, 10)))
    academy.tell(SESSION_ATTENDANCE, *(presence(2, id_, "late") for id_ in range(1, 10)))
    academy.tell(TOURNAMENT_ROSTERS, *(roster(id_, user_ids=[1, 2]) for id_ in range(1, 10)))
    yield academy
    academy.close()


def roster(tournament_id: int, **others: Any) -> dict[str, Any]:
    return {"tournament_id": tournament_id, "participants": 2, "finalized_at": AT, **others}


def test_memory_holds_what_it_is_allowed_to_however_much_happened_to_a_user(academy: Academy) -> None:
    counting = CountingTopics(academy.topics)
    academy.topics = counting  # type: ignore[assignment]
    report = academy.verify()
    assert (report.differences, report.unverifiable) == ([], 0)
    assert report.events > 10 * KEPT
    assert KEPT / 2 <= counting.most[Source] <= KEPT + 2
    assert counting.most[LetterRow] <= 2 * KEPT + 2
    assert counting.most[Record] <= 3 * KEPT + 4, "waiting, following, and those that were applied at once"


def test_what_is_not_in_memory_any_more_is_compared_all_the_same(academy: Academy) -> None:
    academy.tamper(
        "UPDATE tournament_participations SET placement = 3 WHERE user_id = 1 AND semester_id = 2",
        "DELETE FROM session_attendances WHERE user_id = 2 AND session_id = 3",
        "DELETE FROM tournament_badges WHERE user_id = 2 AND semester_id = 9",
        "UPDATE credit_transfers SET memo = 'another' WHERE idempotency_key = 't4'",
        "UPDATE tournament_rosters SET participants = 3 WHERE tournament_id IN (5, 60)",
        "UPDATE dead_letters SET reason = 'conflict' WHERE \"offset\" = 300",
    )
    differences = academy.verify().differences
    assert named(differences) == [
        ("credit_transfers", "transfer_1-t4_transfer_1"),
        ("dead_letters", "session-attendance[0]@300"),
        ("session_attendances", "user 2, session 3"),
        ("tournament_badges", "user 2, tournament 9, CHAMPION"),
        ("tournament_participations", "user 1, tournament 2"),
        ("tournament_rosters", "tournament 5"),
        ("tournament_rosters", "tournament 60"),
    ]
    events = {difference.table: difference.event for difference in differences}
    assert events["session_attendances"] == EventAt(SESSION_ATTENDANCE, 0, 5)
    assert events["tournament_participations"] == EventAt(TOURNAMENT_RESULTS, 0, 2 * len(IDS) + 11)
