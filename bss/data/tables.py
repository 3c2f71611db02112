"""Parquet tables that one stage writes and the next reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.errors import BssError

MAX_BYTES = 8 << 30
"""Largest table in memory; a small file may decompress to far more."""
BATCH_ROWS = 4096


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length (arrays or lists) as Parquet; the same values give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path, compression="zstd")


class Table:
    """The columns of a Parquet file that the stage `made_by` wrote, each checked on access."""

    def __init__(self, path: Path, made_by: str, arrow: Any) -> None:
        self.path, self.made_by, self.arrow = path, made_by, arrow

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def has_values(self, column: str) -> bool:
        """Return whether any row has a value in `column`."""
        return bool(self.arrow[column].null_count < len(self))

    def texts(self, column: str) -> list[str]:
        """Return a column of texts; raise `BssError` for other types or missing values."""
        return [str(text) for text in self.text_column(column).to_pylist()]

    def optional_texts(self, column: str) -> list[str | None]:
        """Return a column of texts, some of which may be missing."""
        return [None if text is None else str(text) for text in self.text_column(column, empty=True).to_pylist()]

    def text_column(self, column: str, empty: bool = False) -> Any:
        """Return a column of texts as a ``pyarrow.ChunkedArray``, checked like `texts`."""
        return self._column(column, "texts", "string", empty)

    def whole_numbers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a column of integers, int64 [rows]; raise `BssError` for other types."""
        return np.array(self._column(column, "whole numbers", "int64").to_numpy(), dtype=np.int64)

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Return a column of numbers, float64 [rows]; raise `BssError` if one is missing or not finite."""
        numbers = np.array(self._column(column, "numbers", "float64").to_numpy(), dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise self.damaged(f"{column} holds numbers that are not finite")
        return numbers

    def damaged(self, why: str) -> BssError:
        """Return the error for a damaged table, with the fix."""
        return BssError(f"{self.path}: damaged ({why}). Run `bss {self.made_by}` again.")

    def _column(self, name: str, what: str, type_name: str, empty: bool = False) -> Any:
        import pyarrow

        column = self.arrow[name]
        kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
        fits = {"texts": _is_text, "whole numbers": pyarrow.types.is_integer, "numbers": _is_number}[what]
        if not (fits(kind) or (pyarrow.types.is_null(kind) and (empty or not len(self)))):
            raise self.damaged(f"{name} holds {kind}, not {what}")
        if column.null_count and not empty:
            raise self.damaged(f"{name} is missing in {column.null_count} rows")
        try:
            return column.cast(type_name)
        except (pyarrow.ArrowException, ValueError) as error:
            raise self.damaged(f"{name}: {_first_line(error)}") from error


def table_columns(path: Path, made_by: str) -> list[str]:
    """Return the names of the columns of a table; raise `BssError` like `read_table`."""
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except Exception as error:
        raise _unreadable(path, made_by, error) from error


def open_table(path: Path, made_by: str, required: tuple[str, ...]) -> Table:
    """Read a table like `read_table`, with type checks on its columns."""
    return Table(path, made_by, read_table(path, made_by, required))


def read_table(path: Path, made_by: str, required: tuple[str, ...] = ()) -> Any:
    """Read a table (``pyarrow.Table``) that the stage `made_by` wrote: the columns `required`, or all if empty.

    Raises `BssError` if the file is missing or damaged, or a column of `required` is missing.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = [name for name in required if names.count(name) != 1]
            wanted = [field for field in file.schema_arrow if field.name in required or not required]
            batches, size = [], 0
            for batch in file.iter_batches(BATCH_ROWS, columns=[field.name for field in wanted]):
                size += batch.nbytes
                if size > MAX_BYTES:
                    raise ValueError(f"unpacks to more than {MAX_BYTES >> 30} GiB")
                batches.append(batch)
            arrow = pyarrow.Table.from_batches(batches, pyarrow.schema(wanted))
            arrow.validate(full=True)
    except FileNotFoundError as error:
        raise BssError(f"{path}: not found. Run `bss {made_by}` (or `dvc repro`) first.") from error
    except Exception as error:  # damaged files raise many types, Arrow's and Python's
        raise _unreadable(path, made_by, error) from error
    if missing:
        raise BssError(f"{path}: missing columns {missing}, has {names[:50]}. Run `bss {made_by}` again.")
    return arrow


def _unreadable(path: Path, made_by: str, error: Exception) -> BssError:
    return BssError(f"{path}: not a readable Parquet file ({_first_line(error)}). Run `bss {made_by}` again.")


def _is_text(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
