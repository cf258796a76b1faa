"""What a batch writes of level changes is in the order in which they came about."""

from itertools import pairwise

from schemas.events import LEVEL_COMMANDS
from tests.oracle.academy_log import Academy, command


def test_a_users_level_changes_of_one_batch_follow_each_other(academy: Academy) -> None:
    academy.tell(LEVEL_COMMANDS, *[command(1, f"c{level}", new_level=level) for level in (3, 2, 5, 4)])
    changes = academy.query("SELECT from_level, to_level FROM license_progressions ORDER BY id")
    assert [after for _, after in changes] == [3, 2, 5, 4]
    assert all(first[1] == second[0] for first, second in pairwise(changes))
