"""Records that were read and wait for their turn, and the logs that they were read from."""

from collections.abc import Iterator
from typing import Any, Final

from ops.oracle import Record
from ops.verification.shelf import Shelf
from ops.verification.snapshot import LetterRow, Range

WAITING: Final = 20_000
"""As many records that wait are kept in memory."""

Met = tuple[Record, LetterRow | None]
"""A record that was read, and the dead letter that stands at its coordinates."""


class OpenLog:
    """A partition's log as `part` of it is read, the `place`th of all.

    `latest` is by key the last receipt that a record waits for, `letter` the next dead letter.
    """

    __slots__ = ("_letters", "latest", "letter", "part", "place", "where")

    def __init__(self, place: int, part: Range, letters: Iterator[LetterRow]) -> None:
        self.place = place
        self.part = part
        self.where = part.topic, part.partition
        self.latest: dict[bytes | None, int] = {}
        self._letters = letters
        self.letter = next(letters, None)

    def take_letter(self) -> LetterRow:
        """The next dead letter, which there must be."""
        letter = self.letter
        assert letter is not None
        self.letter = next(self._letters, None)
        return letter


def shelf_of_waiting() -> Shelf[Met]:
    """For records that wait for their receipt, by the place of their log and their offset."""
    return Shelf(("place", "position"), _pack_met, _unpack_met, WAITING)


def shelf_of_followers() -> Shelf[list[Met]]:
    """For records that come after the receipt with a number."""
    return Shelf(
        ("number",), lambda all_: list(map(_pack_met, all_)), lambda all_: list(map(_unpack_met, all_)), WAITING
    )


def _pack_met(met: Met) -> tuple[Any, ...]:
    record, letter = met
    return tuple(record), letter and tuple(letter)


def _unpack_met(packed: tuple[Any, ...]) -> Met:
    record, letter = packed
    return Record._make(record), letter and LetterRow._make(letter)
