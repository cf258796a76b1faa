"""A user comes to be with the first event that has an effect, and by no other."""

import pytest

from schemas.events import CREDIT_TRANSFERS, LEVEL_COMMANDS
from sinks.ledger import sources
from tests.oracle.academy_log import Academy, command, transfer

SENDER, RECEIVER, STRANGER = 1, 2, 3
ALL_AT_ONCE, ONE_BY_ONE = 10, 1


def users(academy: Academy) -> list[int]:
    return [user_id for (user_id,) in academy.query("SELECT id FROM users ORDER BY id")]


@pytest.mark.parametrize("most", [ALL_AT_ONCE, ONE_BY_ONE])
def test_a_transfer_creates_both_users_and_one_in_conflict_with_it_nobody(academy: Academy, most: int) -> None:
    academy.publish(CREDIT_TRANSFERS, transfer(SENDER, RECEIVER, 5, "rent"), transfer(SENDER, STRANGER, 5, "rent"))
    academy.deliver(most=most)
    academy.deliver()
    assert users(academy) == [SENDER, RECEIVER]


@pytest.mark.parametrize("most", [ALL_AT_ONCE, ONE_BY_ONE])
def test_a_refused_command_creates_nobody_and_neither_does_one_in_conflict_with_it(academy: Academy, most: int) -> None:
    academy.publish(LEVEL_COMMANDS, command(STRANGER, "c", xp_change=-5), command(STRANGER, "c", xp_change=5))
    academy.deliver(most=most)
    academy.deliver()
    assert users(academy) == []
    academy.tell(LEVEL_COMMANDS, command(STRANGER, "d", xp_change=5), command(STRANGER, "c", xp_change=7))
    assert users(academy) == [STRANGER]


def test_of_tournaments_and_sessions_that_are_known_only_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "MAX_KNOWN", 3)
    known = sources.KnownSources()
    for tournament in range(10):
        known.remember(sources.Sources(tournaments={tournament}))
        assert len(known._tournaments) <= 3
