"""Strict reading of the Parquet tables that users write: every column as text, by its Arrow type."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bss.data.embedded.cells import schema_of, table_batches
from bss.data.read_csv import Row, require_distinct
from bss.data.table_contents import held_instead
from bss.errors import BssError, first_line

MAX_ROWS = 10_000_000
"""Maximum number of rows: a few bytes may decompress to any number."""
MAX_BYTES = 1 << 29
"""Maximum number of bytes of the values that are read together."""
BATCH_ROWS = 128
HUGGING_FACE = b"huggingface"
"""Key of the schema's metadata under which Hugging Face datasets keep their features."""


def read_parquet(
    path: Path, wanted: Collection[str] | None = None, files: "FileCells | None" = None
) -> tuple[list[str], Iterator[Row]]:
    """Return all columns, and a lazy iterator of number (from 1) and values of every row of a Parquet or Arrow file.

    The rows have the columns `wanted`, or all columns not in `parquet_faults`. Null and NaN become an empty text, and
    the numbers of a Hugging Face ``ClassLabel`` the names in the schema. With `files`, columns of structs
    {bytes, path} are read too: `files` turns each into the text of its row. Raises `BssError` for a file that is
    unreadable or too large, for a duplicate column name, for a column of `wanted` whose type is not text-like, for a
    float too large to represent an integer exactly, and for a class number without a name.
    """
    with _readable(path):
        schema, rows = schema_of(path)
        require_distinct(path, schema.names)
        if rows is not None and rows > MAX_ROWS:
            raise ValueError(f"{rows} rows; at most {MAX_ROWS} are allowed")
    held = [] if files is None else file_columns(schema)
    faults = {name: why for name, why in _faults(schema).items() if name not in held}
    refused = [f"column {name!r}{faults[name]}." for name in schema.names if name in faults and name in (wanted or ())]
    if refused:
        raise BssError("\n".join(f"{path}: {line}" for line in refused))
    kept = [name for name in schema.names if name not in faults and (wanted is None or name in wanted)]
    return schema.names, _rows(path, kept, class_names(schema), files, [name for name in held if name in kept])


def parquet_faults(path: Path) -> dict[str, str]:
    """Return the columns whose type is not text-like, each with the rest of a sentence that starts with its name."""
    with _readable(path):
        return _faults(schema_of(path)[0])


def file_columns(schema: Any) -> list[str]:
    """Return the columns of structs {bytes, path} of a schema (``pyarrow.Schema``): files inside the table."""
    return [field.name for field in schema if _is_file(_inner(field.type))]


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the class names of each ``ClassLabel`` column that a schema (``pyarrow.Schema``) describes.

    Hugging Face datasets write them into the metadata: {"info": {"features": {"label": {"names": [...]}}}}.
    """
    try:
        features = json.loads((schema.metadata or {})[HUGGING_FACE])["info"]["features"]
        found = {name: entry["names"] for name, entry in features.items() if entry.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {name: list(map(str, names)) for name, names in found.items() if isinstance(names, list)}


def _faults(schema: Any) -> dict[str, str]:
    found = {field.name: _why_no_text(field.type) for field in schema}
    return {name: why for name, why in found.items() if why}


def _rows(
    path: Path, names: list[str], classes: dict[str, list[str]], files: "FileCells | None", held: list[str]
) -> Iterator[Row]:
    number = size = 0
    with _readable(path):
        # Small batches: a value stored once in the file may belong to a million rows.
        for batch in table_batches(path, names, rows=None if held else BATCH_ROWS)[1]:
            batch.validate(full=True)
            columns = {name: _plain(batch.column(name)) for name in names}
            size += sum(column.nbytes for name, column in columns.items() if name not in held)
            if size > MAX_BYTES:
                raise ValueError(f"its values exceed {MAX_BYTES >> 20} MiB")
            texts = []
            for name, column in columns.items():
                if files is not None and name in held:
                    texts.append(files.texts(name, column, number))
                    continue
                try:
                    texts.append(_texts(column))
                except _NoTextError as error:
                    raise BssError(f"{path}: column {name!r} ({column.type}) {error}") from error
                if name in classes:
                    texts[-1] = _named(path, name, texts[-1], classes[name], number)
            for values in zip(*texts, strict=True):
                number += 1
                yield number, dict(zip(names, values, strict=True))


def _named(path: Path, column: str, numbers: list[str], names: list[str], first: int) -> list[str]:
    """Return the names of classes by `numbers`; -1, a missing label in Hugging Face datasets, becomes empty."""
    known = {str(number): name for number, name in enumerate(names)} | {"": "", "-1": ""}
    if strange := [(row, text) for row, text in enumerate(numbers, first + 1) if text not in known]:
        row, text = strange[0]
        raise BssError(
            f"{path}: row {row}: {column} is {text[:100]}, but the schema names {len(names)} classes: 0 to "
            f"{len(names) - 1}. Write the dataset again with the right names, or without ClassLabel."
        )
    return [known[text] for text in numbers]


class FileCells(Protocol):
    """Takes the files inside a table."""

    def texts(self, column: str, files: Any, first: int) -> list[str]:
        """Return a text for each struct {bytes, path} of `files`, a part of `column` from row `first`; may be empty."""


class _NoTextError(Exception):
    """A value that cannot be text; the message gives reason and fix."""


def _plain(column: Any) -> Any:
    """Return the values of a column, unwrapped from dictionaries and extension types without extra meaning."""
    from pyarrow import types

    while True:
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif _is_extension(column.type) and column.type.extension_name not in _PYTHON_VALUES:
            column = column.storage
        else:
            return column


_PYTHON_VALUES = ("arrow.uuid", "arrow.bool8")
"""Extension types whose values differ from their storage, and whose text form Python knows."""


def _is_extension(kind: Any) -> bool:
    import pyarrow

    return isinstance(kind, pyarrow.BaseExtensionType)


def _inner(kind: Any) -> Any:
    """Return the type of the values of `kind` after `_plain`."""
    from pyarrow import types

    while True:
        if types.is_dictionary(kind):
            kind = kind.value_type
        elif _is_extension(kind) and kind.extension_name not in _PYTHON_VALUES:
            kind = kind.storage_type
        else:
            return kind


def _why_no_text(kind: Any) -> str:
    """Return why values of an Arrow type are not text-like, and the fix; nothing if they are."""
    from pyarrow import types

    inner = _inner(kind)
    if _is_extension(inner) or _is_text(inner):
        return ""
    fine = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    if any(fits(inner) for fits in (*fine, types.is_date, types.is_time, types.is_timestamp)):
        return ""
    if _is_file(inner):
        return (
            " is a struct {bytes, path}, a file inside the table, as in Hugging Face datasets. "
            "Write the bytes of each row to a file and put its path into the column"
        )
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    if any(fits(inner) for fits in binary):
        return (
            f" is {inner}, which is neither text nor a path. If it holds text, cast it to string; if it holds "
            "files, make each a struct {bytes, path}, or write it to disk and put its path into the column"
        )
    if types.is_nested(inner):
        return f" is {_short(inner)}, not one value per row. Save arrays as .npy files and put their paths into it"
    return f" is {_short(inner)}, which has no text form. Write it as text or as a number"


def _is_file(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind)) and {"bytes", "path"} <= {field.name for field in kind}


def _short(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 100 else f"{text[:100]} ..."


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _texts(column: Any) -> list[str]:
    """Return the values of a column from `_plain` as texts; null and NaN become empty."""
    from pyarrow import types

    kind = column.type
    if types.is_floating(kind):
        return [_float_text(value) for value in column.to_numpy(zero_copy_only=False)]
    if types.is_decimal(kind):
        return ["" if value is None else _decimal_text(value) for value in column.to_pylist()]
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        # Not Python's datetime, which is coarser and ends in the year 9999.
        return [_time_text(value or "") for value in column.cast("string").to_pylist()]
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _float_text(value: np.floating[Any]) -> str:
    """Return the shortest text that identifies a float16, 32 or 64; integers have no point.

    pandas turns integers into floats if one is missing: 3 is written 3.0, and read as 3.
    """
    if np.isnan(value):
        return ""
    if not np.isfinite(value) or value != np.trunc(value):
        return np.format_float_positional(value, trim="0") if np.isfinite(value) else str(value)
    if abs(value) >= 2 ** (np.finfo(value.dtype).nmant + 1):
        raise _NoTextError(
            f"holds {value}: floats of this size cannot represent all integers. Write it as integers or as text."
        )
    return str(int(value))


def _time_text(text: str) -> str:
    """Return Arrow's text of a date or time, without trailing zeros of its fraction."""
    if text.startswith("<"):  # Arrow's text for a value beyond its calendar
        raise _NoTextError(f"holds a time outside the calendar ({text.strip('<>')}). Correct it, or write it as text.")
    return re.sub(r"\.(\d*?)0+(?!\d)", lambda found: f".{found[1]}" if found[1] else "", text)


def _decimal_text(value: Decimal) -> str:
    """Return a decimal without trailing zeros: 3.00 is 3."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn any exception in the block into `BssError`: damaged files raise many types, Arrow's and Python's."""
    try:
        yield
    except BssError:
        raise
    except Exception as error:
        why, also = first_line(error, 300).rstrip("."), _fix(path, error)
        what = "Arrow" if path.suffix == ".arrow" else "Parquet"
        raise BssError(f"{path}: not a readable {what} file ({why}{also and f'; {also}'}).") from error


def _fix(path: Path, error: Exception) -> str:
    """Return what the file holds and what to do, after an `error` of reading it; empty if unknown."""
    import pyarrow

    held = held_instead(path)
    if held and not held.startswith("it holds a Parquet file"):
        return held
    return "if it is cut off or damaged, fetch it again" if isinstance(error, pyarrow.ArrowException | OSError) else ""
