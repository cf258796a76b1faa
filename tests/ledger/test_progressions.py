"""What a batch writes of level changes is in the order in which they came about."""

from contextlib import closing
from itertools import pairwise

import psycopg2

from schemas.events import LEVEL_COMMANDS
from tests.oracle.academy_log import Academy, command

CHANGES = "SELECT from_level, to_level FROM license_progressions ORDER BY id"


def test_a_users_level_changes_of_one_batch_follow_each_other(database_url: str) -> None:
    with closing(Academy(database_url)) as academy:
        academy.tell(LEVEL_COMMANDS, *[command(1, f"c{level}", new_level=level) for level in (3, 2, 5, 4)])
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(CHANGES)
            changes = cursor.fetchall()
    assert [after for _, after in changes] == [3, 2, 5, 4]
    assert all(first[1] == second[0] for first, second in pairwise(changes))
