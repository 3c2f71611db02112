"""One row of the manifest: its values and its problems."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from bss.config.modalities import ClipKind, FlowKind, ModalityKind, TextKind
from bss.data.decode.spans import WHOLE, Span
from bss.data.store import SPLITS

REQUIRED = ("id", "label", "split")
EMPTY = "is empty"
MISSING = frozenset({"nan", "NaN", "<NA>", "NaT"})
"""Text forms of missing values in pandas and NumPy; not allowed as a value."""
SYNONYMS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
NO_SPANS: dict[str, Span] = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """A valid row."""

    row: int
    """Line in the file (CSV) or row number from 1 (Parquet)."""
    id: str
    label: str
    split: str
    group: str | None
    files: dict[str, str]
    """Path of each modality, relative to the data root; or the text itself."""
    spans: dict[str, Span] = field(default_factory=dict)
    """Part of the file, for modalities with one in the manifest."""

    def span(self, modality: str) -> Span:
        """Return this sample's part of the modality's file."""
        return self.spans.get(modality, WHOLE)


@dataclass(frozen=True)
class BadRow:
    """An invalid row of the manifest."""

    row: int
    """Row number, as in `Sample`."""
    id: str
    """Empty if the row has none."""
    label: str
    split: str
    """Both as in the row."""
    problems: list[str]

    @property
    def reason(self) -> str:
        """The problems in one line; with the row's place if its number alone does not name it."""
        place = "" if str(self.row).isdecimal() else f"row {self.row}: "
        return place + "; ".join(self.problems)

    def lines(self) -> list[str]:
        """Return a line for each problem."""
        return [f"row {self.row}: {problem}" for problem in self.problems]


def split_meant(split: str) -> str | None:
    """Return the split that `split` is an alias of, None for a valid split and for anything else.

    A manifest with aliases must be corrected; its rows are not skipped because of them.
    """
    meant = SYNONYMS.get(split.casefold())
    return None if meant == split else meant


def sample_of_row(
    number: int,
    row: dict[str, str],
    modalities: Mapping[str, ModalityKind],
    required: Sequence[str] = REQUIRED,
    root: Path | None = None,
    absent: str = EMPTY,
) -> tuple[Sample, list[str]]:
    """Return the sample of a row and the row's problems; `root` is the data root, for messages.

    The columns `required` and those of `modalities` need a value; the others in `REQUIRED` may be
    empty. `absent` completes "label ..." for a missing value.
    """
    value = {name: text.strip() for name, text in row.items()}
    problems = [f"{name} {absent}" for name in (*required, *modalities) if not value[name]]
    problems += [
        f"{name} {value[name]!r} is a missing value written as text: leave the cell empty, or use another name"
        for name in (*REQUIRED, "group", *modalities)
        if value.get(name) in MISSING
    ]
    split = value.get("split", "")
    if split and split not in (*SPLITS, *MISSING):
        meant = split_meant(split)
        hint = "" if meant is None else f" (is it {meant!r}?)"
        problems.append(f"split {split[:200]!r} is not one of {', '.join(SPLITS)}{hint}")
    spans: dict[str, Span] = {}
    for modality, kind in modalities.items():
        if _has_span(kind):
            spans[modality] = _span(value, modality, problems)
        if isinstance(kind, TextKind) and kind.source == "column":
            continue
        path = PurePosixPath(value[modality])
        if path.is_absolute() or ".." in path.parts:
            problems.append(
                f"{modality} {value[modality][:200]!r} is not a path inside the data root{_relative_fix(path, root)}"
            )
    files = {modality: value[modality] for modality in modalities}
    # Interned: millions of samples share a few texts.
    label, split, group = (sys.intern(value.get(name, "")) for name in ("label", "split", "group"))
    return Sample(number, value["id"], label, split, group or None, files, spans or NO_SPANS), problems


def _relative_fix(path: PurePosixPath, root: Path | None) -> str:
    """Return a hint with the relative form of an absolute path inside `root`."""
    if root is None or ".." in path.parts or not path.is_absolute():
        return ""
    inner = next((path.relative_to(r) for r in (root.absolute(), root.resolve()) if path.is_relative_to(r)), None)
    if inner is None:
        return " (paths are relative to it)"
    return f", but absolute: write {inner.as_posix()[:200]!r}, relative to it"


def repeated(samples: Iterable[Sample]) -> Iterator[tuple[Sample, str]]:
    """Yield the samples with a duplicate id, and the problem.

    Of identical rows the first is kept; of different rows all are yielded, because any of them may be wrong.
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
            yield member, f"id {name[:200]!r} is not unique: the row {problem}"


def spelled_twice(samples: Sequence[Sample]) -> list[str]:
    """Return a line for each integer label or group written with and without a point: 3 and 3.0."""
    lines = []
    for column, values in (("label", {s.label for s in samples}), ("group", {s.group or "" for s in samples})):
        floats = [value for value in sorted(values) if re.fullmatch(r"-?[0-9]+\.0+", value)]
        pairs = [(value.partition(".")[0], value) for value in floats]
        lines += [
            f"{column} {whole!r} and {column} {text!r} are the same number" for whole, text in pairs if whole in values
        ]
    return lines


def span_columns_of(modalities: Mapping[str, ModalityKind]) -> list[str]:
    """Return the columns that may select parts of files."""
    return [column for name, kind in modalities.items() if _has_span(kind) for column in _span_columns(name)]


def _has_span(kind: ModalityKind) -> bool:
    return isinstance(kind, ClipKind | FlowKind)


def _span_columns(modality: str) -> tuple[str, str]:
    return f"{modality}_start", f"{modality}_end"


def _span(value: dict[str, str], modality: str, problems: list[str]) -> Span:
    """Return the part of the file that a row selects; missing or empty columns select the whole file.

    Integers may have a point, because pandas writes them so in a column with empty cells.
    """
    texts = {column: value.get(column, "") for column in _span_columns(modality)}
    found = {column: re.fullmatch(r"([0-9]{0,9})(?:(?<=[0-9])\.0+)?", text) for column, text in texts.items()}
    bad = [column for column, match in found.items() if match is None]
    problems += [f"{column} {texts[column][:200]!r} is not a frame number, counted from 0" for column in bad]
    if bad:
        return WHOLE
    start, end = (int(match[1]) if match and match[1] else None for match in found.values())
    if end is not None and end <= (start or 0):
        problems.append(f"{modality}_end {end} must be greater than the start {start or 0}")
    return Span(start, end)
