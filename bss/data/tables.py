"""Parquet tables that one stage writes and the next reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bss.errors import BssError


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length (arrays or lists) as Parquet; the same values give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path, compression="zstd")


def read_table(path: Path, made_by: str, required: tuple[str, ...] = ()) -> Any:
    """Read a table (``pyarrow.Table``) that the stage `made_by` wrote: the columns `required`, or all of none.

    Raises `BssError` where the file is missing, damaged, or lacks a column of `required`.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        table = file.read(columns=list(required) or None)
    except FileNotFoundError as error:
        raise BssError(f"{path}: not found. Run `bss {made_by}` (or `dvc repro`) first.") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise BssError(f"{path}: not a readable Parquet file ({error}). Run `bss {made_by}` again.") from error
    missing = [name for name in required if name not in table.column_names]
    if missing:
        found = file.schema_arrow.names
        raise BssError(f"{path}: lacks the columns {missing}, has {found}. Run `bss {made_by}` again.")
    return table
