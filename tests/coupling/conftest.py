from collections.abc import Iterator

import pytest

from tests.coupling.stand import Stand


@pytest.fixture
def stand(database_url: str) -> Iterator[Stand]:
    """A migrated database with nobody in it."""
    stand = Stand(database_url)
    yield stand
    stand.close()
