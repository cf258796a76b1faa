"""Which receipt names which offset: as Postgres copied it out, in a temporary file that is read as the log is."""

import os
import struct
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Final

HEADER: Final = 19
ROW: Final = struct.Struct(">hiqiqiq")
"""A row of three bigints in a binary COPY: place, offset, number."""
TRAILER: Final = 2
ROWS_AT_ONCE: Final = 1_000
NOWHERE: Final = (2**63, 0)


class Numbers:
    """Numbers of receipts by place, counted from 0, and offset. Of each place they are asked for in offset order.

    `file` takes a binary COPY of rows in the order of places, counted from 1, and offsets.
    """

    def __init__(self, places: int) -> None:
        self.file = TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._rows: list[Iterator[tuple[int, int]]] = []
        self._next = [NOWHERE] * places

    def begin(self) -> None:
        """Be ready to be asked: everything was copied."""
        self.file.flush()
        self._rows = [self._read(place + 1) for place in range(len(self._next))]
        self._next = [next(rows, NOWHERE) for rows in self._rows]

    def at(self, place: int, offset: int) -> int:
        """The number of the receipt that names the offset, 0 where none does."""
        while self._next[place][0] < offset:
            self._next[place] = next(self._rows[place], NOWHERE)
        found, number = self._next[place]
        return number if found == offset else 0

    def close(self) -> None:
        """Forget everything."""
        self.file.close()

    def _read(self, place: int) -> Iterator[tuple[int, int]]:
        row, past = self._first_of(place), self._first_of(place + 1)
        while row < past:
            rows = min(past - row, ROWS_AT_ONCE)
            portion = os.pread(self.file.fileno(), rows * ROW.size, HEADER + row * ROW.size)
            for _, _, _, _, offset, _, number in ROW.iter_unpack(portion):
                yield offset, number
            row += rows

    def _first_of(self, place: int) -> int:
        """The number of the first row of this place or a later one, by halves."""
        low, high = 0, (os.fstat(self.file.fileno()).st_size - HEADER - TRAILER) // ROW.size
        while low < high:
            middle = (low + high) // 2
            (_, _, found, *_) = ROW.unpack(os.pread(self.file.fileno(), ROW.size, HEADER + middle * ROW.size))
            low, high = (middle + 1, high) if found < place else (low, middle)
        return low
