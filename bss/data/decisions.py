"""Decisions about single samples: drop one, give one another label, or ignore one of its modalities."""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from bss.data.manifest import Manifest, similar
from bss.data.read_csv import listed, read_csv
from bss.data.rows import Sample
from bss.data.store import SPLITS
from bss.errors import LIMIT, BssError, raise_problems
from bss.files import digest_file, read_json, whole_file

COLUMNS = ("id", "decision", "value")
DATASET = "dataset"
"""Optional column: the start of the manifest's digest, so that decisions cannot meet another dataset."""
PROPOSED = "proposed"
"""Optional column: what `bss audit --apply` decided. If the row still says so, the next one may replace it."""
DIGITS = 16
"""Hexadecimal digits of the digest in that column."""
KINDS = ("keep", "drop", "relabel", "ignore")
FILE = "decisions.csv"
"""Usual name of the file, and its name in a store."""


class Known(NamedTuple):
    """What a decision about a sample is checked against."""

    split: str
    label: str | None
    """The manifest's; None if that is not known."""


@dataclass(frozen=True)
class Decision:
    """What is to be done with one sample."""

    row: int
    """Line in the file."""
    id: str
    kind: str
    """One of `KINDS`."""
    value: str
    """The new label, or the modality to ignore; otherwise empty."""
    proposed: str = ""
    """What an audit decided, as `_words` of it; empty for a decision of one's own."""

    @property
    def automatic(self) -> bool:
        """Whether it is what an audit decided, and nobody changed it."""
        return self.proposed == _words(self.kind, self.value)


@dataclass(frozen=True)
class Decisions:
    """All decisions of a file that was checked against a manifest."""

    digest: str | None = None
    """sha256 of the file; None without one."""
    by_id: Mapping[str, Decision] = field(default_factory=dict)

    def applied_to(self, manifest: Manifest) -> Manifest:
        """Return the manifest without dropped samples and with the new labels; its splits stay as they are."""
        return replace(manifest, samples=[s for s in map(self._decided, manifest.samples) if s is not None])

    def _decided(self, sample: Sample) -> Sample | None:
        decision = self.by_id.get(sample.id)
        if decision is None:
            return sample
        if decision.kind == "drop":
            return None
        return replace(sample, label=decision.value) if decision.kind == "relabel" else sample

    def ignored(self, samples: Iterable[Sample]) -> list[str | None]:
        """Return the modality to ignore of each sample, or None."""
        found = (self.by_id.get(sample.id) for sample in samples)
        return [d.value if d is not None and d.kind == "ignore" else None for d in found]

    def write(self, path: Path, manifest: Manifest) -> None:
        """Write what was decided about the samples of `manifest`, with their splits and labels before it."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "decision", "value", "split", "label"])
            for s in manifest.samples:
                if (d := self.by_id.get(s.id)) is not None:
                    writer.writerow([d.id, d.kind, d.value, s.split, s.label])


def read_decisions(
    path: Path, manifest: Manifest, dataset: str, modalities: Collection[str], decide_test: bool
) -> Decisions:
    """Read and check the decisions in `path` about `manifest`, whose digest is `dataset`.

    Raises `BssError` with all rows that are wrong: an unknown or repeated id, a decision or value that does not exist,
    decisions about another dataset, or about test samples without `decide_test` (keeping one is no decision), and if
    the decisions would empty a class of a split.
    """
    known = {s.id: Known(s.split, s.label) for s in manifest.samples}
    decisions = checked_decisions(path, dataset, known, manifest.classes, modalities, decide_test)
    found = Decisions(digest_file(path), {d.id: d for d in decisions})
    _require_some_left(path, manifest, found.applied_to(manifest))
    return found


def checked_decisions(
    path: Path,
    dataset: str,
    known: Mapping[str, Known],
    classes: Collection[str],
    modalities: Collection[str],
    decide_test: bool,
) -> list[Decision]:
    """Read the decisions in `path` about the samples `known` by id; raise `BssError` as `read_decisions` does.

    What they leave of splits and classes is not checked.
    """
    decisions = [
        Decision(number, row["id"], row["decision"], row["value"], row.get(PROPOSED, ""))
        for number, row in _rows(path, dataset)
    ]
    counts = Counter(d.id for d in decisions)
    problems: list[str] = []
    for d in decisions:
        sample = known.get(d.id)
        if sample is None:
            hint = similar(d.id, list(known)[:1000]) if len(problems) < LIMIT else ""
            problems.append(f"row {d.row}: no sample has the id {d.id[:200]!r}{hint}")
        elif counts[d.id] > 1:
            problems.append(f"row {d.row}: id {d.id[:200]!r} is not unique")
        elif why := _wrong_value(d, sample.label, classes, modalities):
            problems.append(f"row {d.row}: {why}")
    raise_problems(str(path), problems, "Fix these rows; nothing was decided.")
    tests = [d for d in decisions if d.kind != "keep" and known[d.id].split == "test"]
    if tests and not decide_test:
        others = len(tests) - 1
        change = f"and {others} more change samples" if others else "changes a sample"
        raise BssError(
            f"{path}: row {tests[0].row} {change} of test, which makes results "
            "incomparable with those on the original test split. Remove these rows, or set prepare.decide_test: true; "
            "the report then says so."
        )
    return decisions


def write_decisions(
    path: Path,
    decisions: Iterable[tuple[str, str, str]],
    dataset: str,
    automatic: Iterable[tuple[str, str, str]] = (),
) -> None:
    """Write id, kind and value of decisions about the dataset whose manifest has the digest `dataset`.

    Those in `automatic` are an audit's, and marked so.
    """
    end = dataset[:DIGITS]
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, DATASET, PROPOSED])
        writer.writerows([*decision, end, ""] for decision in decisions)
        writer.writerows([of, kind, value, end, _words(kind, value)] for of, kind, value in automatic)


def _words(kind: str, value: str) -> str:
    return f"{kind} {value}".strip()


def prepared_with(store: Path) -> list[dict[str, str]]:
    """Return the decisions that the store at `store` was prepared with, as `Decisions.write` wrote them."""
    path = store / FILE
    return [row for _, row in read_csv(path)[1]] if path.is_file() else []


def dataset_of(store: Path) -> str:
    """Return the digest of the manifest that the store at `store` was prepared from."""
    path = store / "provenance.json"
    found = read_json(path, "prepare", {"inputs": dict})["inputs"].get("manifest")
    if not isinstance(found, str):
        raise BssError(f"{path}: has no digest of the manifest. Run `bss prepare` again.")
    return found


def summarise(path: Path) -> dict[str, dict[str, int]]:
    """Return how many samples of each split were decided about in which way, by the file that `Decisions.write` wrote.

    Without such a file there are none; keeping a sample does not count.
    """
    if not path.is_file():
        return {}
    found: dict[str, dict[str, int]] = {}
    for _, row in read_csv(path)[1]:
        if row["decision"] != "keep":
            of_split = found.setdefault(row["split"], {})
            of_split[row["decision"]] = of_split.get(row["decision"], 0) + 1
    return found


def _rows(path: Path, dataset: str) -> list[tuple[int, dict[str, str]]]:
    """Return line numbers and values of the rows; raise `BssError` for other columns, or for another dataset."""
    columns, lines = read_csv(path)
    missing = [name for name in COLUMNS if name not in columns]
    if missing or set(columns) - {*COLUMNS, DATASET, PROPOSED}:
        names = f"{', '.join(COLUMNS)} and may have {DATASET} and {PROPOSED}"
        raise BssError(f"{path}: needs the columns {names}; has {listed(columns)}.")
    rows = [(number, {name: value.strip() for name, value in row.items()}) for number, row in lines]
    wanted = dataset[:DIGITS]
    others = sorted({row[DATASET] for _, row in rows if DATASET in row} - {wanted})
    if others:
        raise BssError(
            f"{path}: is about another dataset: {DATASET} is {others[0][:50]!r}, but this manifest's digest begins "
            f"with {wanted}. Review the samples again, or remove the column if every id still means the same sample."
        )
    return rows


def _wrong_value(d: Decision, label: str | None, classes: Collection[str], modalities: Collection[str]) -> str:
    """Return what is wrong with the decision or value of a row, or nothing."""
    if d.kind not in KINDS:
        return f"decision {d.kind[:200]!r} is not one of {', '.join(KINDS)}{similar(d.kind, list(KINDS))}"
    if d.kind in ("keep", "drop"):
        return f"value {d.value[:200]!r}: {d.kind} takes none" if d.value else ""
    right = list(classes) if d.kind == "relabel" else list(modalities)
    what = "label" if d.kind == "relabel" else "modality"
    if d.value not in right:
        return f"value {d.value[:200]!r} is not a {what} of this dataset{similar(d.value, right)}"
    if d.kind == "relabel" and d.value == label:
        return f"value {d.value[:200]!r} is the label that the sample has"
    return ""


def _require_some_left(path: Path, before: Manifest, after: Manifest) -> None:
    for split in SPLITS:
        had, has = ({s.label for s in m.samples if s.split == split} for m in (before, after))
        gone = sorted(had - has)
        if gone:
            what = f"class {', '.join(gone)}" if has else "samples"
            raise BssError(f"{path}: the decisions would leave {split} without {what}. Keep some of them.")
