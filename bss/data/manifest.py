"""The manifest: which samples there are, their labels, splits, groups and files."""

import difflib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from bss.config.modalities import ClipKind, FlowKind, ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import LinkOutsideError, boundary, inside
from bss.data.decode.spans import WHOLE, Span
from bss.data.problems import raise_problems
from bss.data.read_csv import Row, listed, read_csv, require_distinct
from bss.data.store import SPLITS
from bss.errors import BssError

REQUIRED = ("id", "label", "split")
MAX_ROWS = 10_000_000
"""Of a manifest in Parquet, where a few bytes may stand for any number of rows."""
MAX_BYTES = 1 << 29
"""Of all its values together."""
BATCH_ROWS = 128
NO_SPANS: dict[str, Span] = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the manifest."""

    row: int
    """Line in the file (CSV) or number of the row from 1 (Parquet)."""
    id: str
    label: str
    split: str
    group: str | None
    files: dict[str, str]
    """Path of each modality, relative to the data root; or the text itself."""
    spans: dict[str, Span] = field(default_factory=dict)
    """Part of the file, of modalities of which the manifest tells one."""

    def span(self, modality: str) -> Span:
        """Return the part of the modality's file that this sample is."""
        return self.spans.get(modality, WHOLE)


@dataclass(frozen=True)
class Manifest:
    """The samples in the manifest's order."""

    path: Path
    samples: list[Sample]
    unused: list[str]
    """Columns that nothing reads."""

    @property
    def classes(self) -> list[str]:
        """The label names in order: by number where all are whole numbers, else by name."""
        names = {sample.label for sample in self.samples}
        if all(re.fullmatch("-?[0-9]{1,18}", name) for name in names):
            return sorted(names, key=lambda name: (int(name), name))
        return sorted(names)

    def with_splits(self, splits: dict[str, str]) -> "Manifest":
        """Return a copy in which the samples of these ids have these splits."""
        samples = [replace(sample, split=splits.get(sample.id, sample.split)) for sample in self.samples]
        return replace(self, samples=samples)


def read_manifest(root: Path, name: str, modalities: Mapping[str, ModalityKind], links: Links = "inside") -> Manifest:
    """Read ``root / name`` and check everything that the table alone can tell, all problems at once.

    Raises `BssError` for a missing, empty or unreadable file, or one that a link takes from outside `root`, for
    missing columns, and for every row with an empty value, an unknown split, a repeated id, a path that leaves
    the root, or a part of a file that is none.
    """
    path = find_table(root, name, f"Set prepare.manifest to the manifest's name inside {root}.", links)
    columns, rows = read_rows(path)
    return check_rows(path, columns, rows, modalities)


def check_rows(path: Path, columns: list[str], rows: Iterable[Row], modalities: Mapping[str, ModalityKind]) -> Manifest:
    """Return the manifest that numbered `rows` are; `path` is named in messages. Raises as `read_manifest` does."""
    missing = [column for column in (*REQUIRED, *modalities) if column not in columns]
    if missing:
        hints = [f"{column!r}{_similar(column, columns)}" for column in missing]
        raise BssError(
            f"{path}: lacks the column{'s' if len(missing) > 1 else ''} {', '.join(hints)}; it has {listed(columns)}. "
            "Needed: id, label, split, and one column per modality in prepare.modalities."
        )
    problems: list[str] = []
    samples = [_sample(number, row, modalities, problems) for number, row in rows]
    if not samples:
        raise BssError(f"{path}: has a header but no samples.")
    counts = Counter(sample.id for sample in samples)
    problems += [f"row {s.row}: id {s.id[:200]!r} is not unique" for s in samples if s.id and counts[s.id] > 1]
    raise_problems(str(path), problems, "Mend these rows of the manifest.")
    ends = [column for name, kind in modalities.items() if _has_span(kind) for column in _span_columns(name)]
    unused = [column for column in columns if column not in (*REQUIRED, "group", *modalities, *ends)]
    return Manifest(path, samples, unused)


def check_splits(manifest: Manifest) -> None:
    """Check that train and test exist, and that train knows every label; call it before val is carved."""
    counts = Counter(sample.split for sample in manifest.samples)
    for split in ("train", "test"):
        if not counts[split]:
            raise BssError(
                f"{manifest.path}: no sample has the split {split!r} (found {dict(counts)}). Mark some samples so."
            )
    known = {sample.label for sample in manifest.samples if sample.split == "train"}
    problems = [
        f"row {s.row}: label {s.label[:200]!r} is in {s.split} but never in train"
        for s in manifest.samples
        if s.label not in known
    ]
    raise_problems(str(manifest.path), problems, "A class can only be learned from train: mend label or split.")
    if len(known) < 2:
        raise BssError(f"{manifest.path}: train has one class only ({known.pop()!r}); two or more are needed.")


def groups_in_two_splits(manifest: Manifest) -> list[str]:
    """Return a line for each group (speaker, actor, video, ...) that more than one split has."""
    seen: dict[str, set[str]] = {}
    for sample in manifest.samples:
        if sample.group is not None:
            seen.setdefault(sample.group, set()).add(sample.split)
    return [
        f"group {group!r} is in {' and '.join(s for s in SPLITS if s in splits)}"
        for group, splits in seen.items()
        if len(splits) > 1
    ]


def find_table(root: Path, name: str, cure: str, links: Links = "inside") -> Path:
    """Return ``root / name``, a file inside `root` unless `links` may leave it; raise `BssError` with `cure` if not."""
    try:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
        real = root.resolve()
        if not inside(real, name, boundary(real, links)).is_file():
            raise BssError(f"{root / name}: not found. {cure}")
    except LinkOutsideError as error:
        raise BssError(f"{root / name}: {error}.") from error
    except (BadSampleError, OSError) as error:  # one that leads out of the root, one that is too long for a name
        raise BssError(f"{root / name}: {getattr(error, 'strerror', None) or error}. {cure}") from error
    return root / name


def read_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the rows, read as they are asked for, of a CSV or Parquet file; all values are text."""
    return _read_parquet(path) if path.suffix == ".parquet" else read_csv(path)


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    import pyarrow.parquet

    with _readable(path), pyarrow.parquet.ParquetFile(path) as file:
        columns = list(file.schema_arrow.names)
        require_distinct(path, columns)
        if file.metadata.num_rows > MAX_ROWS:
            raise ValueError(f"{file.metadata.num_rows} rows; {MAX_ROWS} are the most")
    return columns, _parquet_rows(path)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet
    from pyarrow.types import is_dictionary

    number = size = 0
    with _readable(path), pyarrow.parquet.ParquetFile(path) as file:
        # Few at a time: a value that the file holds once may be that of a million rows.
        for batch in file.iter_batches(BATCH_ROWS):
            plain = [c.dictionary_decode() if is_dictionary(c.type) else c for c in batch.columns]
            size += sum(column.nbytes for column in plain)
            if size > MAX_BYTES:
                raise ValueError(f"its values have more than {MAX_BYTES >> 20} MiB")
            for values in zip(*(column.to_pylist() for column in plain), strict=True):
                number += 1
                texts = ["" if value is None else str(value) for value in values]
                yield number, dict(zip(batch.schema.names, texts, strict=True))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell what is raised in the block as a `BssError`: damaged files raise many types, of Arrow's and of Python's."""
    try:
        yield
    except BssError:
        raise
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BssError(f"{path}: not a readable Parquet file ({why}).") from error


def _sample(number: int, row: dict[str, str], modalities: Mapping[str, ModalityKind], problems: list[str]) -> Sample:
    value = {name: text.strip() for name, text in row.items()}
    empty = [name for name in (*REQUIRED, *modalities) if not value[name]]
    problems += [f"row {number}: {name} is empty" for name in empty]
    if value["split"] and value["split"] not in SPLITS:
        problems.append(f"row {number}: split {value['split'][:200]!r} is none of {', '.join(SPLITS)}")
    spans: dict[str, Span] = {}
    for modality, kind in modalities.items():
        if _has_span(kind):
            spans[modality] = _span(number, value, modality, problems)
        if isinstance(kind, TextKind) and kind.source == "column":
            continue
        path = PurePosixPath(value[modality])
        if path.is_absolute() or ".." in path.parts:
            problems.append(f"row {number}: {modality} {value[modality][:200]!r} is not a path inside the data root")
    files = {modality: value[modality] for modality in modalities}
    # Millions of samples share a few of these texts.
    label, split, group = (sys.intern(value.get(name, "")) for name in ("label", "split", "group"))
    return Sample(number, value["id"], label, split, group or None, files, spans or NO_SPANS)


def _has_span(kind: ModalityKind) -> bool:
    return isinstance(kind, ClipKind | FlowKind)


def _span_columns(modality: str) -> tuple[str, str]:
    return f"{modality}_start", f"{modality}_end"


def _span(number: int, value: dict[str, str], modality: str, problems: list[str]) -> Span:
    """Return the part of the file that a row asks for; columns that are missing or empty ask for the whole."""
    texts = {column: value.get(column, "") for column in _span_columns(modality)}
    bad = [column for column, text in texts.items() if not re.fullmatch("[0-9]{0,9}", text)]
    problems += [
        f"row {number}: {column} {texts[column][:200]!r} is no number of a frame, counted from 0" for column in bad
    ]
    if bad:
        return WHOLE
    start, end = (int(text) if text else None for text in texts.values())
    if end is not None and end <= (start or 0):
        problems.append(f"row {number}: {modality}_end {end} is not above the start {start or 0}")
    return Span(start, end)


def _similar(column: str, columns: list[Any]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    return f" (is it {close[0]!r}?)" if close else ""
