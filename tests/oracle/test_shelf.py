"""A shelf is a mapping like any other, whatever of it stands in its file; numbers are read back as they were copied."""

import struct
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.oracle import Roster
from ops.oracle.reading import Fact
from ops.oracle.state import Given, Source
from ops.verification.numbers import Numbers
from ops.verification.shelf import Shelf, shelf_of_rosters, shelf_of_sources
from schemas.errors import LaurelsError

keys = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, st.integers()),
        st.tuples(st.just("get"), keys, st.none()),
        st.tuples(st.just("change"), keys, st.integers()),
        st.tuples(st.just("pop"), keys, st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_a_shelf_that_keeps_little_in_memory_holds_what_a_dict_would(steps: list[tuple[str, Any, Any]]) -> None:
    expected: dict[Any, list[int]] = {}
    with closing(Shelf[list[int]](("kind", "id"), list, list, kept=3)) as shelf:
        for step, key, value in steps:
            match step:
                case "set":
                    shelf[key], expected[key] = [value], [value]
                case "get":
                    assert shelf.get(key) == expected.get(key)
                case "change":
                    found = shelf.get(key)
                    if found is not None:
                        found.append(value)
                        expected[key].append(value)
                case "pop":
                    assert shelf.pop(key) == expected.pop(key, None)
        assert sorted(shelf.sorted_by("id")) == sorted(expected.items())
        assert [key[1] for key, _ in shelf.sorted_by("id")] == sorted(key[1] for key in expected)


def test_a_source_comes_back_from_the_file_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    fact = Fact("tournament", 5, 7, 2, ("final", 1, None, "PLAYER", (("passing", 61.5), ("speed", None)), 9), 9)
    source = Source(fact, 3, "r1")
    source.given = Given("PLAYER", 500, 100, (("passing", 10),), ("CHAMPION",), ("PLAYER", 1, 2, 3))
    source.badges = {"CHAMPION": (9, False)}
    monkeypatch.setattr("ops.verification.shelf.KEPT", 2)
    with closing(shelf_of_sources()) as shelf:
        for number in range(4):
            shelf["tournament", number, 5] = source
        found = shelf.get(("tournament", 0, 5))
    assert found is not None
    assert found is not source
    assert [getattr(found, name) for name in Source.__slots__] == [getattr(source, name) for name in Source.__slots__]
    assert isinstance(found.given, Given)


def _fill(shelf: Shelf[Roster]) -> None:
    for number in range(3_000):
        shelf["roster", number, 0] = Roster(1, 1, tuple(range(100)), 0, number)


def test_a_file_without_room_is_an_error_that_says_what_to_do() -> None:
    with closing(shelf_of_rosters()) as shelf:
        shelf._begin_file().execute("PRAGMA max_page_count = 10")
        with pytest.raises(LaurelsError, match=r"database or disk is full.*TMPDIR"):
            _fill(shelf)


def test_numbers_are_found_by_place_and_offset() -> None:
    copied = [(1, 0, 11), (1, 2, 12), (3, 5, 13), (3, 2**40, 14)]
    rows = b"".join(struct.pack(">hiqiqiq", 3, 8, place, 8, offset, 8, number) for place, offset, number in copied)
    numbers = Numbers(4)
    numbers.file.write(bytes(19) + rows + b"\xff\xff")
    numbers.begin()
    with closing(numbers):
        assert [numbers.at(0, offset) for offset in (0, 1, 2, 3)] == [11, 0, 12, 0]
        assert [numbers.at(1, 0), numbers.at(3, 5)] == [0, 0]
        assert [numbers.at(2, offset) for offset in (4, 5, 6, 2**40, 2**41)] == [0, 13, 0, 14, 0]
