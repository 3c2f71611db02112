"""The files in one column of a Parquet or Arrow table, read window by window."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from bss.data.decode.bad_sample import BadSampleError
from bss.data.raw_files import is_distant, open_raw

WINDOW_BYTES = 8 << 20
"""Bytes of a batch, about."""
WINDOW_ROWS = 128
"""Maximum number of rows of a batch."""
DISTANT_BYTES = 1 << 20
"""Bytes of a column read at once from a file that is not on the disk; it cannot be mapped."""
KEPT_ROWS = 64
"""Rows behind the last one that stay in memory: threads ask for their rows in nearly ascending order."""


def _batch_rows(metadata: Any) -> int:
    """Return how many rows of a Parquet file make a batch of about `WINDOW_BYTES`."""
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return max(1, min(WINDOW_ROWS, WINDOW_BYTES * metadata.num_rows // max(1, size)))


def schema_of(path: Path) -> tuple[Any, int | None]:
    """Return the schema (``pyarrow.Schema``) of a Parquet or Arrow file, and its rows if the header has them."""
    if path.suffix != ".arrow":
        with _open_parquet(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    with _open_arrow(path) as file:
        return _open_ipc(file).schema, None


def table_batches(path: Path, names: list[str], first: int = 0, rows: int | None = None) -> tuple[int, Iterator[Any]]:
    """Return the row at which the batches start, at most `first`, and an iterator of them with the columns `names`.

    `rows` is the size of a batch of a Parquet file, None for about `WINDOW_BYTES`; Arrow files have batches of their
    own, and start at 0.
    """
    if path.suffix == ".arrow":
        return 0, _arrow_batches(path, names)
    with _open_parquet(path) as file:
        metadata = file.metadata
    starts = [0, *accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))]
    group = max((i for i, start in enumerate(starts[:-1]) if start <= first), default=0)
    return starts[group], _parquet_batches(path, names, range(group, metadata.num_row_groups), rows)


def _parquet_batches(path: Path, names: list[str], groups: range, rows: int | None) -> Iterator[Any]:
    with _open_parquet(path) as file:
        yield from file.iter_batches(rows or _batch_rows(file.metadata), list(groups), names)


def _arrow_batches(path: Path, names: list[str]) -> Iterator[Any]:
    with _open_arrow(path) as file:
        reader = _open_ipc(file)
        for number in range(getattr(reader, "num_record_batches", 1 << 62)):
            try:
                batch = reader.get_batch(number) if hasattr(reader, "get_batch") else reader.read_next_batch()
            except StopIteration:
                return
            yield batch.select(names)


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    # Mapped and not buffered ahead, a page is in memory only decompressed. Writers make up to 1024 rows one page.
    distant = is_distant(path)
    with pyarrow.parquet.ParquetFile(
        open_raw(path) if distant else path,
        memory_map=not distant,
        buffer_size=DISTANT_BYTES if distant else 0,
        pre_buffer=False,
    ) as file:
        yield file


def _open_arrow(path: Path) -> Any:
    import pyarrow

    return pyarrow.PythonFile(open_raw(path)) if is_distant(path) else pyarrow.memory_map(str(path))


def _open_ipc(file: Any) -> Any:
    """Open Arrow's IPC format: a stream, as Hugging Face datasets write it, or a file."""
    import pyarrow

    magic = file.read(6)
    file.seek(0)
    return pyarrow.ipc.open_file(file) if magic == b"ARROW1" else pyarrow.ipc.open_stream(file)


class Cells:
    """The files in the column `name` of the table `path`, by row from 0. Thread-safe.

    Rows in ascending order are read once; a row far from the others costs its row group. About one row group of the
    column is in memory; Hugging Face datasets make row groups of up to 100 MB.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._lock = Lock()
        self._kept: deque[Any] = deque()
        self._first = self._end = 0
        self._batches: Iterator[Any] | None = None

    def read(self, position: int) -> bytes:
        """Return the bytes of a row; raise `BadSampleError` if the table can no longer be read."""
        with self._lock:
            try:
                return self._value(position)
            except StopIteration as error:
                raise BadSampleError("the table has become shorter") from error

    def _value(self, row: int) -> bytes:
        if self._batches is None or not self._first <= row < self._end + WINDOW_ROWS:
            self._restart(row)
        assert self._batches is not None
        while row >= self._end:
            batch = next(self._batches)
            self._kept.append(batch.column(0))
            self._end += len(batch)
            while self._first + len(self._kept[0]) <= min(row, self._end - KEPT_ROWS):
                self._first += len(self._kept.popleft())
        first = self._first
        for column in self._kept:
            if row < first + len(column):
                return bytes(column[row - first].as_py()["bytes"])
            first += len(column)
        raise AssertionError(row)

    def _restart(self, row: int) -> None:
        self._kept.clear()
        self._first, self._batches = table_batches(self.path, [self.name], row)
        self._end = self._first
