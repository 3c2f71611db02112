"""The manifest of new samples: labels and modalities may be missing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bss.config.modalities import ModalityKind
from bss.config.schema import Links
from bss.data.embedded.contents import Contents
from bss.data.embedded.rows import read_tables
from bss.data.manifest import require_texts, similar
from bss.data.manifest_files import is_pattern, manifest_files
from bss.data.read_csv import listed
from bss.data.rows import BadRow, Sample, repeated, sample_of_row, span_columns_of
from bss.errors import BssError, raise_problems

OnBad = Literal["error", "skip"]


@dataclass(frozen=True)
class NewSamples:
    """The samples in the manifest's order."""

    samples: list[Sample]
    """`Sample.label` is empty if unknown, `files` holds the existing modalities, `split` is empty."""
    bad: list[BadRow]
    """The rows that were left out, in the manifest's order."""
    labelled: bool
    """Whether the manifest has a column of labels."""
    root: Path
    """The folder to which paths are relative."""
    contents: Contents
    """The files inside the manifest's files."""


def read_new_samples(
    path: Path,
    kinds: Mapping[str, ModalityKind],
    classes: Collection[str],
    needs_all: str,
    on_bad: OnBad,
    links: Links = "inside",
) -> NewSamples:
    """Read a manifest with the columns id and one per modality, and label if labels are known.

    `path` is a file, or several as in `manifest_files`: a folder, or a pattern. A modality's column may be missing and
    its cells empty, unless `needs_all` says why not; other columns, such as split, are ignored. Raises `BssError` for
    an unreadable file, for a missing column and, unless `on_bad` is "skip", for all bad rows at once: those that
    `bss prepare` rejects, and labels not in `classes`.
    """
    root, files = _files(path, kinds, links)
    tables = read_tables(root, files, {"id", "label", *kinds, *span_columns_of(kinds)})
    _require_columns(path, tables.columns, kinds, needs_all)
    samples, found = [], dict[int, BadRow]()
    for number, values in tables.rows:
        present = {name: kind for name, kind in kinds.items() if values.get(name, "").strip()}
        row = {name: value for name, value in values.items() if name in {"id", "label", *present}}
        row |= {name: values.get(name, "") for name in span_columns_of(present)}
        sample, problems = sample_of_row(number, row, present, required=("id",))
        problems += _problems(sample, list(kinds), classes, needs_all)
        samples.append(sample)
        if problems:
            found[number] = BadRow(number, sample.id, sample.label, "", problems)
    ids = {sample.row: sample.id for sample in samples} if tables.faults else {}
    for number, more in tables.faults.items():
        found.setdefault(number, BadRow(number, ids.get(number, ""), "", "", [])).problems.extend(more)
    if not samples and not found:
        raise BssError(f"{path}: has a header but no samples.")
    # Like `bss prepare`: to be skipped, a row must be bad independently of the others.
    for sample, problem in repeated([s for s in samples if on_bad == "error" or s.row not in found]):
        found.setdefault(sample.row, BadRow(sample.row, sample.id, sample.label, "", [])).problems.append(problem)
    bad = [found[row] for row in sorted(found)]
    samples = [sample for sample in samples if sample.row not in found]
    if on_bad == "error" or not samples:
        fix = "Fix these rows, or leave them out with --on-bad-sample skip."
        raise_problems(str(path), [line for row in bad for line in row.lines()], fix)
    require_texts(path, samples, kinds, tables.contents)
    return NewSamples(samples, bad, "label" in tables.columns, root, tables.contents)


def _files(path: Path, kinds: Mapping[str, ModalityKind], links: Links) -> tuple[Path, list[Path]]:
    """Return the folder to which a manifest's paths are relative, and its files."""
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        return path, manifest_files(path, ".", links)
    if not is_pattern(str(path)):
        raise BssError(
            f"{path}: no such file. --manifest takes a CSV or Parquet file, a tar shard, or several (a pattern or a "
            f"folder), with the columns id and one per modality ({', '.join(kinds)})."
        )
    plain = next(parent for parent in path.parents if not is_pattern(str(parent)))
    return plain, manifest_files(plain, path.relative_to(plain).as_posix(), links)


def _require_columns(path: Path, columns: list[str], kinds: Mapping[str, ModalityKind], needs_all: str) -> None:
    absent = [name for name in kinds if name not in columns]

    def hints(names: list[str]) -> str:
        return ", ".join(f"{name!r}{similar(name, columns)}" for name in names)

    if "id" not in columns or len(absent) == len(kinds):
        missing = [name for name in ("id", *absent) if name not in columns]
        raise BssError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {hints(missing)}; it has {listed(columns)}. "
            "Needed: id, and a column per modality."
        )
    if absent and needs_all:
        raise BssError(f"{path}: missing {hints(absent)}, but {needs_all}.")


def _problems(sample: Sample, names: list[str], classes: Collection[str], needs_all: str) -> list[str]:
    """Return the problems of a sample that matter only for prediction."""
    missing = [name for name in names if name not in sample.files]
    problems = []
    if len(missing) == len(names):
        problems.append(f"{', '.join(missing)} are empty: there is nothing to predict from")
    elif missing and needs_all:
        problems.append(f"{', '.join(missing)} is empty, but {needs_all}")
    if sample.label and sample.label not in classes:
        known = ", ".join(list(classes)[:20]) + ", ..." * (len(classes) > 20)
        problems.append(f"label {sample.label[:200]!r} is not a class of the network ({known}): correct or empty it")
    return problems
