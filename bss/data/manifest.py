"""The manifest: samples with their labels, splits, groups and files."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import LinkOutsideError, boundary, inside
from bss.data.embedded.contents import Contents
from bss.data.embedded.rows import read_tables
from bss.data.embedded.webdataset import ABSENT
from bss.data.manifest_files import is_shard, manifest_files
from bss.data.read_csv import Row, listed, read_csv
from bss.data.read_parquet import read_parquet
from bss.data.rows import (
    EMPTY,
    MISSING,
    REQUIRED,
    BadRow,
    Sample,
    repeated,
    sample_of_row,
    span_columns_of,
    spelled_twice,
    split_meant,
)
from bss.data.store import SPLITS
from bss.data.table_contents import PARTS_FIX, header_note
from bss.errors import BssError, raise_problems

MANIFEST_FIX = "Set prepare.manifest to the manifest's name inside {root}."


@dataclass(frozen=True)
class Manifest:
    """The samples in the manifest's order."""

    path: Path
    samples: list[Sample]
    unused: list[str]
    """Unused columns."""
    bad: list[BadRow] = field(default_factory=list)
    """The rows that were left out, in the manifest's order."""
    files: list[Path] = field(default_factory=list)
    """The files that it was read from."""
    contents: Contents = field(default_factory=Contents)
    """The files inside those."""

    @property
    def classes(self) -> list[str]:
        """The label names in order: numeric if all are integers, otherwise alphabetical."""
        names = {sample.label for sample in self.samples}
        if all(re.fullmatch("-?[0-9]{1,18}", name) for name in names):
            return sorted(names, key=lambda name: (int(name), name))
        return sorted(names)

    def recorded(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return `samples` with the names under which a store lists their files."""
        if not self.contents.members:
            return list(samples)
        name = self.contents.recorded_name
        return [replace(s, files={modality: name(file) for modality, file in s.files.items()}) for s in samples]

    def with_splits(self, splits: dict[str, str]) -> "Manifest":
        """Return a copy with new splits for these ids."""
        samples = [replace(sample, split=splits.get(sample.id, sample.split)) for sample in self.samples]
        return replace(self, samples=samples)


def read_manifest(
    root: Path,
    name: str,
    modalities: Mapping[str, ModalityKind],
    on_bad: Literal["error", "skip"] = "error",
    links: Links = "inside",
) -> Manifest:
    """Read ``root / name`` and check everything that the table itself can show; report all problems at once.

    Raises `BssError` for a missing, empty or unreadable file, or one that a link takes from outside `root`, for
    missing columns, for columns whose type is not text-like, for numbers spelled in two ways, and for
    every bad row: with a wrong number of values, an empty value or a missing one written as text
    (nan), an unknown split, a repeated id, a path that leaves the root, or an invalid part of a file. With `on_bad`
    "skip" bad rows are left out and listed in `Manifest.bad`; all other problems are still raised.
    """
    path = root / name
    files = manifest_files(root, name, links, MANIFEST_FIX.format(root=root))
    tables = read_tables(root, files, {*REQUIRED, "group", *modalities, *span_columns_of(modalities)})
    absent = ABSENT if is_shard(files[0]) else EMPTY
    manifest = check_rows(path, tables.columns, tables.rows, modalities, on_bad, tables.faults, root, absent)
    require_texts(path, manifest.samples, modalities, tables.contents)
    return replace(manifest, files=files, contents=tables.contents)


def require_texts(
    path: Path, samples: Sequence[Sample], modalities: Mapping[str, ModalityKind], contents: Contents
) -> None:
    """Raise `BssError` if a column of texts, in the manifest at `path`, holds files."""
    texts = [name for name, kind in modalities.items() if isinstance(kind, TextKind)]
    for name in texts:
        if any(name in sample.files and sample.files[name] in contents for sample in samples):
            raise BssError(
                f"{path}: {name} is of kind text, but its column holds files. Texts are columns of text, or "
                ".txt members of shards; name another column."
            )


def check_rows(
    path: Path,
    columns: list[str],
    rows: Iterable[Row],
    modalities: Mapping[str, ModalityKind],
    on_bad: Literal["error", "skip"] = "error",
    faults: Mapping[int, list[str]] = MappingProxyType({}),
    root: Path | None = None,
    absent: str = EMPTY,
) -> Manifest:
    """Return the manifest of numbered `rows`; messages name `path`. Raises like `read_manifest`.

    `faults` is read after the last row: more problems by row, perhaps of rows that `rows` left out. `root` is the data
    root that messages refer to; `absent` completes "label ..." for an empty value.
    """
    missing = [column for column in (*REQUIRED, *modalities) if column not in columns]
    if missing:
        hints = [f"{column!r}{similar(column, columns)}" for column in missing]
        raise BssError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(hints)}; it has {listed(columns)}. "
            "Needed: id, label, split, and one column per modality in prepare.modalities."
            + header_note(columns, missing)
        )
    samples, found = [], {}
    for number, values in rows:
        sample, problems = sample_of_row(number, values, modalities, root=root, absent=absent)
        samples.append(sample)
        if problems:
            found[number] = BadRow(number, sample.id, sample.label, sample.split, problems)
    by_row = {sample.row: sample for sample in samples} if faults else {}
    for number, more in faults.items():
        known = by_row.get(number, Sample(number, "", "", "", None, {}))
        found.setdefault(number, BadRow(number, known.id, known.label, known.split, [])).problems.extend(more)
    if not samples and not found:
        raise BssError(f"{path}: has a header but no samples.")
    # To be skipped, a row must be bad independently of the others; to be fixed, all are listed at once.
    for sample, problem in repeated([s for s in samples if on_bad == "error" or s.row not in found]):
        row = BadRow(sample.row, sample.id, sample.label, sample.split, [])
        found.setdefault(sample.row, row).problems.append(problem)
    bad = [found[row] for row in sorted(found)]
    samples = [sample for sample in samples if sample.row not in found]
    if on_bad == "error" or not samples:
        raise_problems(str(path), _lines_of(bad), "Fix these rows of the manifest.")
    renamed = [(row.row, row.split, split_meant(row.split)) for row in bad]
    misnamed = [f"row {number}: split {split!r} is {right!r}" for number, split, right in renamed if right is not None]
    raise_problems(str(path), misnamed, "Rename the splits in the manifest.")
    raise_problems(str(path), spelled_twice(samples), "Write each number in only one way.")
    used = {*REQUIRED, "group", *modalities, *span_columns_of(modalities)}
    unused = [column for column in columns if column not in used]
    return Manifest(path, samples, unused, bad)


def _lines_of(bad: Sequence[BadRow]) -> list[str]:
    """Return a line for each problem of the rows; a misnamed split is one problem for all its rows."""
    rows = Counter(row.split for row in bad)
    lines, seen = [], set()
    for row in bad:
        for problem in row.problems:
            if split_meant(row.split) is None or not problem.startswith("split "):
                lines.append(f"row {row.row}: {problem}")
            elif row.split not in seen:
                seen.add(row.split)
                more = f" and {rows[row.split] - 1} more" if rows[row.split] > 1 else ""
                lines.append(f"row {row.row}{more}: {problem}")
    return lines


def check_splits(manifest: Manifest) -> None:
    """Check that train and test exist, and that train has every label; call it before splitting off val."""
    counts = Counter(sample.split for sample in manifest.samples)
    for split in ("train", "test"):
        if not counts[split]:
            raise BssError(
                f"{manifest.path}: no sample has the split {split!r} (found {dict(counts)}). Assign it to some samples."
            )
    if not counts["val"] and any(row.split == "val" for row in manifest.bad):
        raise BssError(f"{manifest.path}: every row of val is bad and was skipped. Fix some of them.")
    known = {sample.label for sample in manifest.samples if sample.split == "train"}
    problems = [
        f"row {s.row}: label {s.label[:200]!r} is in {s.split} but never in train"
        for s in manifest.samples
        if s.label not in known
    ]
    fix = "A class can only be learned from train: fix label or split."
    if manifest.bad:
        fix += f" {len(manifest.bad)} bad rows had been skipped, such as {manifest.bad[0].lines()[0]}."
    raise_problems(str(manifest.path), problems, fix)
    gone = sorted({row.label for row in manifest.bad if row.split == "train"} - known - MISSING - {""})
    if gone:
        raise BssError(f"{manifest.path}: every train row of {', '.join(gone)} is bad and was skipped. Fix some.")
    if len(known) < 2:
        raise BssError(f"{manifest.path}: train has only one class ({known.pop()!r}); it needs two or more.")


def groups_in_two_splits(manifest: Manifest) -> list[str]:
    """Return a line for each group (speaker, actor, video, ...) in more than one split."""
    seen: dict[str, set[str]] = {}
    for sample in manifest.samples:
        if sample.group is not None:
            seen.setdefault(sample.group, set()).add(sample.split)
    return [
        f"group {group!r} is in {' and '.join(s for s in SPLITS if s in splits)}"
        for group, splits in seen.items()
        if len(splits) > 1
    ]


def find_table(root: Path, name: str, fix: str, links: Links = "inside") -> Path:
    """Return the file ``root / name``, inside `root` unless `links` may leave it; else raise `BssError` with `fix`."""
    try:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
        real = root.resolve()
        if not inside(real, name, boundary(real, links)).is_file():
            what = PARTS_FIX if (root / name).is_dir() else f"not found. {fix}"
            raise BssError(f"{root / name}: {what}")
    except LinkOutsideError as error:
        raise BssError(f"{root / name}: {error}.") from error
    except (BadSampleError, OSError) as error:  # leads out of the root, or is too long a name
        raise BssError(f"{root / name}: {getattr(error, 'strerror', None) or error}. {fix}") from error
    return root / name


def read_rows(
    path: Path, wanted: Collection[str] | None = None, on_wrong_width: Callable[[int, str], None] | None = None
) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and a lazy iterator of rows of a CSV or Parquet file; all values are text.

    `wanted` and `on_wrong_width` as in `read_parquet` and `read_csv`.
    """
    return read_parquet(path, wanted) if path.suffix == ".parquet" else read_csv(path, on_wrong_width)


def similar(column: str, columns: list[Any]) -> str:
    """Return a question that suggests the most similar of `columns`, or nothing."""
    close = difflib.get_close_matches(column, columns, n=1)
    return f" (is it {close[0]!r}?)" if close else ""
