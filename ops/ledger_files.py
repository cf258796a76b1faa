"""Where an export goes: JSON lines to a file or standard output, Parquet to a file."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

from msgspec import json

from schemas.errors import LaurelsError
from sinks.history import COLUMNS

STDOUT: Final = Path("-")

Rows = Sequence[tuple[Any, ...]]


class Export(Protocol):
    """What takes an export's rows, batch by batch."""

    def write(self, rows: Rows) -> None:
        """Write the rows of a batch."""


class _Lines:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, rows: Rows) -> None:
        self._out.write(json.Encoder().encode_lines([dict(zip(COLUMNS, row, strict=True)) for row in rows]))


class _Parquet:
    def __init__(self, out: IO[bytes], arrow: Any, parquet: Any) -> None:
        types = {str: arrow.string(), int: arrow.int64(), datetime: arrow.timestamp("us", tz="UTC")}
        self._arrow = arrow
        self._schema = arrow.schema([(name, types[type_]) for name, type_ in COLUMNS.items()])
        self._writer = parquet.ParquetWriter(out, self._schema, compression="zstd")

    def write(self, rows: Rows) -> None:
        columns = [
            self._arrow.array(column, field.type)
            for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


@contextmanager
def json_lines(path: Path) -> Iterator[Export]:
    """Write JSON lines to `path`, or to standard output."""
    with nullcontext(sys.stdout.buffer) if path == STDOUT else _whole(path) as out:
        yield _Lines(out)
        out.flush()


@contextmanager
def parquet_file(path: Path) -> Iterator[Export]:
    """Write Parquet to `path`; needs pyarrow, which is an extra."""
    try:
        import pyarrow as arrow  # noqa: ICN001, PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise LaurelsError("Parquet needs pyarrow: pip install 'laurels[parquet]', or use --format jsonl") from error
    with _whole(path) as out:
        written = _Parquet(out, arrow, parquet)
        yield written
        written.close()


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is whole, so that an interrupted export leaves none that looks like one."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(path)
    except OSError as error:
        raise LaurelsError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
