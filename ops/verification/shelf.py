"""A mapping that may grow beyond memory: its latest members are kept as they are, the others in a temporary file."""

import marshal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from ops.oracle import Roster
from ops.oracle.state import Given, Source
from schemas.errors import LaurelsError

Value = TypeVar("Value")
Key = tuple[Any, ...]
Plain = Any
"""Tuples, lists, dicts, strings, bytes, numbers, and nothing else."""

KEPT: Final = 10_000
KEPT_ROSTERS: Final = 1_000
"""As many are kept in memory; then the older half of them is written out."""

CACHE_KIB: Final = 16_384
"""As much of its file SQLite keeps in memory."""

FILTER_BITS: Final = 1 << 26
"""8 MiB. One bit is set for each key that was written out: most keys are new, and need not be looked for there."""

# Nobody else reads the file, and nobody reads it again: it has no name, and need not survive anything.
PRAGMAS: Final = (
    "page_size = 8192",
    "journal_mode = OFF",
    "synchronous = OFF",
    "locking_mode = EXCLUSIVE",
    f"cache_size = -{CACHE_KIB}",
)


class Shelf(Generic[Value]):
    """Values by keys of as many parts as `parts` names, integers or strings; so many are kept in memory.

    Values are changed in place only right after they were got or set. `pack` makes a value plain, `unpack` brings it
    back. Keys that come in an order of their own, more or less, are written fastest.
    """

    def __init__(
        self,
        parts: Sequence[str],
        pack: Callable[[Value], Plain],
        unpack: Callable[[Any], Value],
        kept: int,
    ) -> None:
        self._parts = parts
        self._pack = pack
        self._unpack = unpack
        self._kept = kept
        self._latest: dict[Key, Value] = {}
        self._file: sqlite3.Connection | None = None
        self._written = bytearray()
        columns = ", ".join(parts)
        self._insert = f"INSERT OR REPLACE INTO shelf VALUES ({', '.join('?' * len(parts))}, ?)"
        self._select = f"SELECT packed FROM shelf WHERE ({columns}) = ({', '.join('?' * len(parts))})"
        self._delete = f"DELETE FROM shelf WHERE ({columns}) = ({', '.join('?' * len(parts))})"

    def __bool__(self) -> bool:
        return bool(self._latest) or self._file is not None

    def get(self, key: Key, /) -> Value | None:
        """What stands under the key."""
        value = self._latest.get(key)
        if value is None and self._file is not None:
            value = self._read(key)
            if value is not None:
                self[key] = value
        return value

    def __setitem__(self, key: Key, value: Value, /) -> None:
        self._latest[key] = value
        if len(self._latest) > self._kept:
            self._write_out(self._kept // 2)

    def pop(self, key: Key) -> Value | None:
        """What stands under the key, which is taken away."""
        value = self._latest.pop(key, None)
        if self._file is None or not self._may_be_written(key):
            return value
        if value is None:
            value = self._read(key)
        self._file.execute(self._delete, key)
        return value

    def sorted_by(self, part: str) -> Iterator[tuple[Key, Value]]:
        """All members, in the order of one part of their keys. Nothing may be set meanwhile."""
        place = self._parts.index(part)
        latest = sorted(self._latest.items(), key=lambda member: member[0][place])
        if self._file is None:
            yield from latest
            return
        unpack, loads = self._unpack, marshal.loads
        passed = 0
        with room_needed():
            rows = self._file.execute(f"SELECT * FROM shelf ORDER BY {part}")
            for *parts, packed in rows:
                while passed < len(latest) and latest[passed][0][place] <= parts[place]:
                    yield latest[passed]
                    passed += 1
                key = tuple(parts)
                if key not in self._latest:
                    yield key, unpack(loads(packed))
        yield from latest[passed:]

    def close(self) -> None:
        """Forget everything."""
        self._latest.clear()
        if self._file is not None:
            self._file.close()

    def _may_be_written(self, key: Key) -> bool:
        bit = hash(key) & (FILTER_BITS - 1)
        return bool(self._written[bit >> 3] & (1 << (bit & 7)))

    def _read(self, key: Key) -> Value | None:
        if self._file is None or not self._may_be_written(key):
            return None
        row = self._file.execute(self._select, key).fetchone()
        return None if row is None else self._unpack(marshal.loads(row[0]))  # noqa: S302 - we packed it ourselves

    def _write_out(self, members: int) -> None:
        file = self._file or self._begin_file()
        written = self._written
        keys = list(islice(self._latest, members))
        for key in keys:
            bit = hash(key) & (FILTER_BITS - 1)
            written[bit >> 3] |= 1 << (bit & 7)
        pack, take, dumps = self._pack, self._latest.pop, marshal.dumps
        rows = [(*key, dumps(pack(take(key)))) for key in keys]
        rows.sort()  # neighbours stand on the same pages
        with room_needed():
            file.execute("BEGIN")
            file.executemany(self._insert, rows)
            file.execute("COMMIT")

    def _begin_file(self) -> sqlite3.Connection:
        # Any thread may close it; only one uses it.
        file = self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            file.execute(f"PRAGMA {pragma}")
        columns = ", ".join(self._parts)
        file.execute(f"CREATE TABLE shelf ({columns}, packed, PRIMARY KEY ({columns})) WITHOUT ROWID")
        self._written = bytearray(FILTER_BITS >> 3)
        return file


@contextmanager
def room_needed() -> Iterator[None]:
    """Say what to do when there is none for a temporary file."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        message = f"what memory does not hold goes to a temporary file ({error}): TMPDIR must name a folder with room"
        raise LaurelsError(message) from error


def shelf_of_sources() -> Shelf[Source]:
    """For what the oracle remembers of sources. Their ids come about in order, so kind and id stand in front."""
    return Shelf(("kind", "id", "user_id"), _pack_source, _unpack_source, KEPT)


def shelf_of_rosters() -> Shelf[Roster]:
    """For the rosters that stand; they name up to thousands of users each."""
    return Shelf(("kind", "id", "user_id"), tuple, Roster._make, KEPT_ROSTERS)


_PLAIN: Final = ("revision", "payload", "row", "ruleset", "seq", "occurred_us", "adopted", "withdrawn", "result")
_plain = attrgetter(*_PLAIN)


def _pack_source(source: Source) -> Plain:
    return *_plain(source), tuple(source.given), dict(source.badges)


def _unpack_source(packed: Any) -> Source:
    source = Source.__new__(Source)
    (
        source.revision,
        source.payload,
        source.row,
        source.ruleset,
        source.seq,
        source.occurred_us,
        source.adopted,
        source.withdrawn,
        source.result,
        given,
        source.badges,
    ) = packed
    source.given = Given._make(given)
    return source
