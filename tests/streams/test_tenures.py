"""Tenures: the chain of records that shows whether one was lost on the way."""

import pytest

from schemas.errors import SteppedOver
from sinks.batch import Claim
from streams.tenures import Tenure


def tenure(next_offset: int = 10) -> Tenure:
    return Tenure(
        topic="level-commands",
        partition=0,
        log_id="cluster/topic",
        epoch=7,
        generation=1,
        next_offset=next_offset,
        claimed=next_offset,
        recorded=next_offset,
        end_offset=0,
    )


def test_records_that_follow_each_other_are_taken() -> None:
    held = tenure()
    assert held.follow(10, 10)
    assert held.follow(11, 11)
    assert held.claim_to(12) == Claim("level-commands", 0, 7, 10, 12, 12)


def test_offsets_may_have_gaps_as_long_as_the_records_follow_each_other() -> None:
    held = tenure()
    assert held.follow(10, 12)
    assert held.follow(13, 20)


def test_a_record_that_follows_another_one_than_the_last_was_stepped_over() -> None:
    held = tenure()
    assert held.follow(10, 10)
    with pytest.raises(SteppedOver, match="what comes next is 11"):
        held.follow(12, 12)


def test_a_record_that_was_taken_before_is_not_taken_again() -> None:
    held = tenure()
    assert held.follow(10, 10)
    assert not held.follow(9, 10)


def test_an_idle_position_moves_past_what_is_empty() -> None:
    held = tenure()
    held.saw_empty(10, 13)
    assert held.may_move
    assert held.claim_to(held.claimed) == Claim("level-commands", 0, 7, 10, 13, 13)
    assert not held.may_move
    held.saw_empty(10, 15)
    assert held.may_move
    assert held.claim_to(held.claimed) == Claim("level-commands", 0, 7, 13, 15, 15)
    assert held.follow(10, 15), "the record after the gap still says that it follows the one before it"


def test_a_position_waits_for_the_records_before_an_empty_stretch() -> None:
    held = tenure()
    held.follow(10, 10)
    held.saw_empty(11, 13)
    assert not held.may_move
    assert held.claim_to(11) == Claim("level-commands", 0, 7, 10, 13, 13)


def test_an_empty_stretch_before_a_record_that_is_on_its_way_is_left_to_that_record() -> None:
    held = tenure()
    held.saw_empty(10, 13)
    held.follow(10, 13)
    assert not held.may_move
    assert held.claim_to(14) == Claim("level-commands", 0, 7, 10, 14, 14)


def test_an_empty_stretch_elsewhere_moves_nothing() -> None:
    held = tenure()
    held.saw_empty(11, 13)
    assert not held.may_move
    assert held.claim_to(held.claimed) is None
