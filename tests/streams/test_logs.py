"""Questions to Kafka that it can only answer a moment later."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import TopicDescription

from schemas.errors import LaurelsError
from streams import logs
from streams.logs import Logs


class Settling(Logs):
    """Logs of a cluster that has heard of a topic only at the third question."""

    def __init__(self) -> None:
        self.asked = 0

    def cluster_id(self) -> str:
        return "cluster"

    def _ask_for(self, topics: Collection[str]) -> tuple[dict[str, TopicDescription], dict[str, str]]:
        self.asked += 1
        if self.asked < 3:
            return {}, dict.fromkeys(topics, "unknown topic")
        found: Any = SimpleNamespace(topic_id="id")
        return dict.fromkeys(topics, found), {}


def test_a_topic_that_was_made_just_now_is_asked_for_again() -> None:
    assert Settling().identify(["new"]) == {"new": "cluster/id"}


def test_a_topic_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(LaurelsError, match="a worker creates none: new: unknown topic"):
        Settling().identify(["new"])
