"""Write predictions batch by batch, as CSV or Parquet."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bss.errors import BssError
from bss.files import whole_file


class Output(Protocol):
    """A sink for predictions."""

    def write(self, columns: dict[str, list[Any]]) -> None:
        """Append rows; None is an empty cell."""


def output_columns(modalities: Sequence[str], labelled: bool) -> dict[str, str]:
    """Return the columns of a prediction table in order, each with its type: text or number."""
    columns = {"id": "text"} | ({"label": "text"} if labelled else {}) | {"predicted": "text", "probability": "number"}
    for name in modalities:
        columns |= {f"predicted_{name}": "text", f"confidence_{name}": "number"}
    return columns | {"agreement": "number"}


def require_output(output: Path, manifest: Path) -> None:
    """Raise `BssError` before any work is done if predictions cannot be written to `output`."""
    if output.suffix not in (".csv", ".parquet"):
        raise BssError(f"--output {output}: must end in .csv or .parquet.")
    if output.resolve() == manifest.resolve():
        raise BssError(f"--output {output}: would overwrite the manifest. Choose another file.")
    if not output.parent.is_dir() or output.is_dir():
        raise BssError(f"--output {output}: must be a file in an existing folder.")


@contextmanager
def open_output(path: Path, columns: dict[str, str]) -> Iterator[Output]:
    """Yield a writer of rows of `columns` to `path`, in the format of its suffix; the file appears at the end."""
    with whole_file(path) as unfinished:
        if path.suffix == ".parquet":
            with _parquet(unfinished, columns) as output:
                yield output
        else:
            with unfinished.open("w", newline="", encoding="utf-8") as file:
                yield _Csv(file, columns)


class _Csv:
    def __init__(self, file: Any, columns: dict[str, str]) -> None:
        self._columns, self._writer = columns, csv.writer(file, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, columns: dict[str, list[Any]]) -> None:
        # str of a float32 is the shortest text that reads back as the same float32.
        self._writer.writerows(zip(*(columns[name] for name in self._columns), strict=True))


class _Parquet:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema

    def write(self, columns: dict[str, list[Any]]) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.table({name: columns[name] for name in self._schema.names}, self._schema))


@contextmanager
def _parquet(path: Path, columns: dict[str, str]) -> Iterator[_Parquet]:
    import pyarrow
    import pyarrow.parquet

    types = {"text": pyarrow.string(), "number": pyarrow.float32()}
    schema = pyarrow.schema([(name, types[what]) for name, what in columns.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield _Parquet(writer, schema)
