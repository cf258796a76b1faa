"""A stage with one partition per topic, and a way to have more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.streams.stage import Stage

MakeStage = Callable[[int], Stage]


@pytest.fixture
def make_stage(bootstrap_servers: str, database_url: str, namespace: str, tmp_path: Path) -> Iterator[MakeStage]:
    stages: list[Stage] = []

    def make(partitions: int) -> Stage:
        stages.append(Stage(bootstrap_servers, database_url, namespace, tmp_path, partitions))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(1)
