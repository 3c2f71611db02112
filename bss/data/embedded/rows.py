"""The rows of all files of a manifest as one table, with the files inside them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bss.data.decode.bad_sample import printable
from bss.data.embedded.cells import Cells, schema_of
from bss.data.embedded.contents import Contents, Member
from bss.data.embedded.unpacked import Tars
from bss.data.embedded.webdataset import read_shard
from bss.data.manifest_files import is_shard, name_in, split_in
from bss.data.read_csv import WRONG_WIDTH_FIX, Row, listed, read_csv
from bss.data.read_parquet import HUGGING_FACE, FileCells, file_columns, parquet_faults, read_parquet
from bss.errors import raise_problems

TABLES = (".parquet", ".arrow")


class Numbered(int):
    """A row's number in the whole manifest, which messages show as its place: 12 of data/train-0.parquet."""

    file: str
    place: str

    def __new__(cls, number: int, file: str, place: str) -> "Numbered":
        """Return the number of a row in `file`, with the text that messages show."""
        self = super().__new__(cls, number)
        self.file, self.place = file, place
        return self

    def __str__(self) -> str:
        return self.place

    def __format__(self, form: str) -> str:
        return format(self.place, form)


@dataclass
class Tables:
    """The table that the files of a manifest are."""

    columns: list[str]
    rows: Iterator[Row]
    """Rows with numbers that are unique and ascending over all files."""
    contents: Contents
    """The files inside; complete after the last row."""
    faults: dict[int, list[str]] = field(default_factory=dict)
    """Problems of rows, complete after the last row; a row of a wrong width is not in `rows`."""
    no_text: dict[str, str] = field(default_factory=dict)
    """Columns that are neither text nor files, which the rows leave out: the rest of a sentence about each."""


def read_tables(root: Path, files: Sequence[Path], wanted: Collection[str] | None = None) -> Tables:
    """Return the rows of `files`, all of one kind, as one table; `wanted` are the columns to read, None for all.

    Tables of Hugging Face datasets need no columns id and split: the id is then the split and the number of the row in
    it, from 0, and the split is in the name of the file or a folder. So is the split of a shard whose samples have
    none. Raises `BssError` for an unreadable file, and for files with different columns.
    """
    tables = Tables([], iter(()), Contents())
    if is_shard(files[0]):
        found = list(_shard_rows(root, files, wanted, tables))
        tables.columns = list(dict.fromkeys(["id", "split", *(name for _, row in found for name in row)]))
        tables.rows = ((number, dict.fromkeys(tables.columns, "") | row) for number, row in found)
        return tables
    tables.columns = _columns_of(root, files)
    tables.rows = _table_rows(root, files, wanted, tables)
    if files[0].suffix in TABLES:
        held = _held(files[0])
        tables.no_text = {name: why for name, why in parquet_faults(files[0]).items() if name not in held}
        if _is_hugging_face(files[0]):
            derived = [name for name in ("id", "split") if name not in tables.columns]
            tables.columns = [*derived, *tables.columns]
            tables.rows = _with_id_and_split(root, files, tables.rows, derived)
    return tables


def _columns_of(root: Path, files: Sequence[Path]) -> list[str]:
    """Return the columns of the first file; raise `BssError` for all files that have others."""
    columns, *others = (_read(file)[0] for file in files)
    problems = [
        f"{name_in(root, file)}: has the columns {listed(sorted(found))}"
        for file, found in zip(files[1:], others, strict=True)
        if set(found) != set(columns)
    ]
    fix = (
        f"Files read as one table need the columns of the first, {name_in(root, files[0])}: {listed(sorted(columns))}."
    )
    raise_problems(str(root), problems, fix)
    return columns


def _read(
    file: Path,
    wanted: Collection[str] | None = None,
    narrow: Callable[[int, str], None] | None = None,
    files: FileCells | None = None,
) -> tuple[list[str], Iterator[Row]]:
    return read_parquet(file, wanted, files) if file.suffix in TABLES else read_csv(file, narrow)


def _table_rows(root: Path, files: Sequence[Path], wanted: Collection[str] | None, tables: Tables) -> Iterator[Row]:
    before = 0
    with ThreadPoolExecutor() as pool:
        for file in files:
            narrow: list[tuple[int, str]] = []
            name, last = name_in(root, file), 0
            cells = _Files(file, name, tables.contents, pool)
            for number, row in _read(file, wanted, lambda *found, to=narrow: to.append(found), cells)[1]:
                last = number
                yield _number(before, number, name if len(files) > 1 else ""), row
            for number, problem in narrow:
                at = _number(before, number, name if len(files) > 1 else "")
                tables.faults.setdefault(at, []).append(f"{problem}. {WRONG_WIDTH_FIX}")
            before += max([last, *(number for number, _ in narrow)])


def _number(before: int, number: int, file: str) -> int:
    """Return the number of a row after `before` others; `file` is its file, or empty if there is only one."""
    return Numbered(before + number, file, f"{number} of {file}") if file else number


def _shard_rows(root: Path, files: Sequence[Path], wanted: Collection[str] | None, tables: Tables) -> Iterator[Row]:
    total, tars = 0, Tars()
    for file in files:
        name = name_in(root, file)
        for number, (key, row, problems) in enumerate(read_shard(file, name, wanted, tables.contents, tars), 1):
            total += 1
            at = Numbered(total, name, f"{number} of {name} (key {printable(key[:100])!r})")
            if problems:
                tables.faults[at] = problems
            yield at, {"split": split_in(name)} | row


def _with_id_and_split(root: Path, files: Sequence[Path], rows: Iterator[Row], derived: list[str]) -> Iterator[Row]:
    """Add the columns `derived` to the rows of a Hugging Face dataset."""
    splits = {name_in(root, file): split_in(name_in(root, file)) for file in files}
    only = name_in(root, files[0])
    counts: Counter[str] = Counter()
    for number, row in rows:
        split = splits[number.file if isinstance(number, Numbered) else only]
        added = {"id": f"{split or 'row'}-{counts[split]}", "split": split}
        counts[split] += 1
        yield number, {name: added[name] for name in derived} | row


class _Files:
    """Adds the files of a table's columns to the contents of a manifest."""

    def __init__(self, path: Path, name: str, contents: Contents, pool: ThreadPoolExecutor) -> None:
        self.path, self.name, self.contents, self.pool = path, name, contents, pool
        self._cells: dict[str, Cells] = {}

    def texts(self, column: str, files: Any, first: int) -> list[str]:
        """Return the address of each struct {bytes, path}, empty for one without both; see `FileCells`."""
        cells = self._cells.setdefault(column, Cells(self.path, column))
        found = [value or {"bytes": None, "path": None} for value in files.to_pylist()]
        digests = self.pool.map(lambda value: value["bytes"] and sha256(value["bytes"]).digest(), found)
        texts = []
        for row, (value, digest) in enumerate(zip(found, digests, strict=True), first):
            name = value["path"] or ""
            if digest is None and not name:
                texts.append("")
                continue
            texts.append(self.contents.add(self.name, f"{row + 1}/{column}", Member(cells, row, name, digest or None)))
        return texts


def _held(file: Path) -> list[str]:
    return file_columns(schema_of(file)[0])


def _is_hugging_face(file: Path) -> bool:
    schema, _ = schema_of(file)
    return file.suffix == ".arrow" or HUGGING_FACE in (schema.metadata or {}) or bool(file_columns(schema))
