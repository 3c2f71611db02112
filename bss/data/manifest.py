"""The manifest: which samples there are, their labels, splits, groups and files."""

import difflib
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bss.config.modalities import ClipKind, FlowKind, ModalityKind, TextKind
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import inside
from bss.data.decode.spans import WHOLE, Span
from bss.data.problems import raise_problems
from bss.data.read_csv import WRONG_WIDTH_CURE, Row, listed, read_csv
from bss.data.read_parquet import read_parquet
from bss.data.store import SPLITS
from bss.errors import BssError

REQUIRED = ("id", "label", "split")
MISSING = frozenset({"nan", "NaN", "<NA>", "NaT"})
"""What pandas and NumPy write for a missing value that is turned into text; no cell may have it as its value."""
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
class BadRow:
    """A row of the manifest that cannot be a sample, through its own fault."""

    row: int
    """Numbered as those of samples."""
    id: str
    """Empty where the row has none."""
    problems: list[str]

    def lines(self) -> list[str]:
        """Return a line for each problem."""
        return [f"row {self.row}: {problem}" for problem in self.problems]


@dataclass(frozen=True)
class Manifest:
    """The samples in the manifest's order."""

    path: Path
    samples: list[Sample]
    unused: list[str]
    """Columns that nothing reads."""
    bad: list[BadRow] = field(default_factory=list)
    """The rows that were left out, in the manifest's order."""

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


def read_manifest(
    root: Path, name: str, modalities: Mapping[str, ModalityKind], on_bad: Literal["error", "skip"] = "error"
) -> Manifest:
    """Read ``root / name`` and check everything that the table alone can show, all problems at once.

    Raises `BssError` for a missing, empty or unreadable file, or one that a link takes from outside `root`, for
    missing columns, for columns of a type that stands for no text, for numbers that are spelled in two ways, and for
    every bad row: of another width than the header, with an empty value or a missing one that was written as text
    (nan), an unknown split, a repeated id, a path that leaves the root, or a part of a file that is none. With `on_bad`
    "skip" bad rows are left out and listed in `Manifest.bad`; all other problems are raised even so.
    """
    path = find_table(root, name, f"Set prepare.manifest to the manifest's name inside {root}.")
    narrow: list[tuple[int, str]] = []
    wanted = {*REQUIRED, "group", *modalities, *_ends(modalities)}
    columns, rows = read_rows(path, wanted, lambda row, problem: narrow.append((row, problem)))
    return check_rows(path, columns, rows, modalities, on_bad, narrow)


def check_rows(
    path: Path,
    columns: list[str],
    rows: Iterable[Row],
    modalities: Mapping[str, ModalityKind],
    on_bad: Literal["error", "skip"] = "error",
    wrong_width: Sequence[tuple[int, str]] = (),
) -> Manifest:
    """Return the manifest that numbered `rows` are; `path` is named in messages. Raises as `read_manifest` does.

    `wrong_width` is read after the last row: number and problem of the rows that `rows` passes over.
    """
    missing = [column for column in (*REQUIRED, *modalities) if column not in columns]
    if missing:
        hints = [f"{column!r}{_similar(column, columns)}" for column in missing]
        raise BssError(
            f"{path}: lacks the column{'s' if len(missing) > 1 else ''} {', '.join(hints)}; it has {listed(columns)}. "
            "Needed: id, label, split, and one column per modality in prepare.modalities."
        )
    samples, found = [], {}
    for number, row in rows:
        sample, problems = _sample(number, row, modalities)
        samples.append(sample)
        if problems:
            found[number] = BadRow(number, sample.id, problems)
    found |= {row: BadRow(row, "", [f"{problem}. {WRONG_WIDTH_CURE}"]) for row, problem in wrong_width}
    if not samples and not found:
        raise BssError(f"{path}: has a header but no samples.")
    # To be skipped, a row must be bad whatever becomes of the others; to be corrected, all are listed at once.
    for sample, problem in _repeated([s for s in samples if on_bad == "error" or s.row not in found]):
        found.setdefault(sample.row, BadRow(sample.row, sample.id, [])).problems.append(problem)
    bad = [found[row] for row in sorted(found)]
    samples = [sample for sample in samples if sample.row not in found]
    if on_bad == "error" or not samples:
        raise_problems(str(path), [line for row in bad for line in row.lines()], "Mend these rows of the manifest.")
    raise_problems(str(path), _spelled_twice(samples), "Write each number in one way.")
    unused = [column for column in columns if column not in (*REQUIRED, "group", *modalities, *_ends(modalities))]
    return Manifest(path, samples, unused, bad)


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
    cure = "A class can only be learned from train: mend label or split."
    if manifest.bad:
        cure += f" {len(manifest.bad)} bad rows were left out before, such as {manifest.bad[0].lines()[0]}."
    raise_problems(str(manifest.path), problems, cure)
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


def find_table(root: Path, name: str, cure: str) -> Path:
    """Return ``root / name``, a file inside `root` whatever links there are; `cure` is told where there is none."""
    try:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
        if not inside(root.resolve(), name).is_file():
            raise BssError(f"{root / name}: not found. {cure}")
    except (BadSampleError, OSError) as error:  # one that leads out of the root, one that is too long for a name
        raise BssError(f"{root / name}: {getattr(error, 'strerror', None) or error}. {cure}") from error
    return root / name


def read_rows(
    path: Path, wanted: Collection[str] | None = None, on_wrong_width: Callable[[int, str], None] | None = None
) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the rows, read as they are asked for, of a CSV or Parquet file; all values are text.

    `wanted` and `on_wrong_width` as `read_parquet` and `read_csv` have them.
    """
    return read_parquet(path, wanted) if path.suffix == ".parquet" else read_csv(path, on_wrong_width)


def _sample(number: int, row: dict[str, str], modalities: Mapping[str, ModalityKind]) -> tuple[Sample, list[str]]:
    """Return the sample of a row, and what is wrong with the row."""
    value = {name: text.strip() for name, text in row.items()}
    problems = [f"{name} is empty" for name in (*REQUIRED, *modalities) if not value[name]]
    problems += [
        f"{name} {value[name]!r} is a missing value written as text: leave the cell empty, or use another name"
        for name in (*REQUIRED, "group", *modalities)
        if value.get(name) in MISSING
    ]
    if value["split"] and value["split"] not in (*SPLITS, *MISSING):
        problems.append(f"split {value['split'][:200]!r} is none of {', '.join(SPLITS)}")
    spans: dict[str, Span] = {}
    for modality, kind in modalities.items():
        if _has_span(kind):
            spans[modality] = _span(value, modality, problems)
        if isinstance(kind, TextKind) and kind.source == "column":
            continue
        path = PurePosixPath(value[modality])
        if path.is_absolute() or ".." in path.parts:
            problems.append(f"{modality} {value[modality][:200]!r} is not a path inside the data root")
    files = {modality: value[modality] for modality in modalities}
    # Millions of samples share a few of these texts.
    label, split, group = (sys.intern(value.get(name, "")) for name in ("label", "split", "group"))
    return Sample(number, value["id"], label, split, group or None, files, spans or NO_SPANS), problems


def _repeated(samples: Iterable[Sample]) -> Iterator[tuple[Sample, str]]:
    """Yield the samples whose id others have, and what is wrong.

    Of rows that are the same the first is none of them; of rows that differ all are, as nothing shows which is right.
    """
    by_id: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.id:
            by_id.setdefault(sample.id, []).append(sample)
    for name, members in by_id.items():
        first, *others = members
        different = [other for other in others if replace(other, row=first.row) != first]
        for member in (first, *others) if different else others:
            other = first if member is not first else different[0]
            problem = f"differs from row {other.row}" if different else f"repeats row {first.row}"
            yield member, f"id {name[:200]!r} is not unique, and the row {problem}"


def _spelled_twice(samples: Sequence[Sample]) -> list[str]:
    """Return a line for each whole number that is a label or group with and without a point: 3 and 3.0."""
    lines = []
    for column, values in (("label", {s.label for s in samples}), ("group", {s.group or "" for s in samples})):
        floats = [value for value in sorted(values) if re.fullmatch(r"-?[0-9]+\.0+", value)]
        pairs = [(value.partition(".")[0], value) for value in floats]
        lines += [
            f"{column} {whole!r} and {column} {text!r} are one number" for whole, text in pairs if whole in values
        ]
    return lines


def _ends(modalities: Mapping[str, ModalityKind]) -> list[str]:
    """Return the columns that may name parts of files."""
    return [column for name, kind in modalities.items() if _has_span(kind) for column in _span_columns(name)]


def _has_span(kind: ModalityKind) -> bool:
    return isinstance(kind, ClipKind | FlowKind)


def _span_columns(modality: str) -> tuple[str, str]:
    return f"{modality}_start", f"{modality}_end"


def _span(value: dict[str, str], modality: str, problems: list[str]) -> Span:
    """Return the part of the file that a row asks for; columns that are missing or empty ask for the whole.

    Whole numbers may have a point, as pandas writes those of a column that has empty cells.
    """
    texts = {column: value.get(column, "") for column in _span_columns(modality)}
    found = {column: re.fullmatch(r"([0-9]{0,9})(?:(?<=[0-9])\.0+)?", text) for column, text in texts.items()}
    bad = [column for column, match in found.items() if match is None]
    problems += [f"{column} {texts[column][:200]!r} is no number of a frame, counted from 0" for column in bad]
    if bad:
        return WHOLE
    start, end = (int(match[1]) if match and match[1] else None for match in found.values())
    if end is not None and end <= (start or 0):
        problems.append(f"{modality}_end {end} is not above the start {start or 0}")
    return Span(start, end)


def _similar(column: str, columns: list[Any]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    return f" (is it {close[0]!r}?)" if close else ""
