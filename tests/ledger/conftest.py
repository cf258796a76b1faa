"""An academy in memory, on a database of its own."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.oracle.academy_log import Academy


@pytest.fixture
def academy(database_url: str) -> Iterator[Academy]:
    with closing(Academy(database_url)) as academy:
        yield academy
