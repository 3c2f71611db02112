"""Which samples of a store are exported, and where their files are."""

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bss.artifacts.plans import seed_path
from bss.config import Config
from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.checksums import read_checksums
from bss.data.decode.bad_sample import named
from bss.data.decode.paths import boundary, inside, require_file
from bss.data.decode.text import read_text
from bss.data.manifest import Manifest, read_rows
from bss.data.raw_files import digest_raw
from bss.data.rows import Sample
from bss.data.store import SPLITS, Store
from bss.data.tables import open_table
from bss.errors import BssError, raise_problems
from bss.stages.prepare import check_manifest
from bss.training.trial_spec import TrialId, read_trial_plan


@dataclass(frozen=True)
class Subset:
    """Samples of a prepared manifest, by split: train, val, test."""

    samples: list[Sample]
    manifest: Manifest
    store: Store
    root: Path
    links: Links
    kinds: Mapping[str, ModalityKind]
    ignored: Mapping[str, str]
    """The modality that was decided to be ignored, by id; samples without such a decision are absent."""

    def of_splits(self) -> Iterator[tuple[str, list[Sample]]]:
        """Yield each split with samples, and those."""
        for split in SPLITS:
            if found := [sample for sample in self.samples if sample.split == split]:
                yield split, found

    def holds_text(self, modality: str) -> bool:
        """Return whether a modality is text."""
        return isinstance(self.kinds[modality], TextKind)

    def text(self, sample: Sample, modality: str) -> str:
        """Return the text of a modality of kind text."""
        kind, value = self.kinds[modality], sample.files[modality]
        return value if isinstance(kind, TextKind) and kind.source == "column" else read_text(self._path(value))

    def file(self, sample: Sample, modality: str) -> bytes:
        """Return the bytes of a modality's file; raise `BadSampleError` for a folder or a missing file."""
        value = sample.files[modality]
        if value in self.manifest.contents:
            return self.manifest.contents.read(value)
        path = self._path(value)
        require_file(path, self.root.resolve())
        return path.read_bytes()

    def name(self, sample: Sample, modality: str) -> str:
        """Return the name under which the store lists a modality's file."""
        return self.manifest.contents.recorded_name(sample.files[modality])

    def _path(self, value: str) -> Path:
        real = self.root.resolve()
        return inside(real, value, boundary(real, self.links))


def select(config: Config, root: Path, store: Path, ids: Collection[str] | None) -> Subset:
    """Return the samples of the store at `store` with the given ids, or all, with their files in `root`.

    Raises `BssError` if the manifest or a file has changed since the store was prepared, or no sample is left.
    """
    data = Store.open(store)
    checked = check_manifest(config, root)
    manifest = checked.manifest
    by_id = {sample.id: sample for sample in manifest.samples}
    labels = [data.classes[label] for label in data.labels.tolist()]
    rows = list(zip(data.ids.tolist(), labels, data.splits.tolist(), strict=True))
    changed = [
        f"{name}: {'not in the manifest' if name not in by_id else 'another label or split in the manifest'}"
        for name, label, split in rows
        if name not in by_id or (by_id[name].label, by_id[name].split) != (label, split)
    ]
    raise_problems(str(store), changed, "The data have changed since: run `bss prepare` again.")
    kept = [by_id[name] for name, _, _ in rows if ids is None or name in ids]
    if not kept:
        raise BssError(f"{store}: none of its samples is left to export.")
    kept.sort(key=lambda sample: SPLITS.index(sample.split))
    decided = zip(kept, checked.decided.ignored(kept), strict=True)
    ignored = {sample.id: modality for sample, modality in decided if modality is not None}
    subset = Subset(kept, manifest, data, root, config.prepare.links, config.prepare.modalities, ignored)
    _require_unchanged(subset)
    return subset


def _require_unchanged(subset: Subset) -> None:
    """Raise `BssError` for all files of the samples whose digest is not the one recorded by `bss prepare`."""
    known = read_checksums(subset.store.path / "files.sha256")
    contents = subset.manifest.contents
    values = {value for sample in subset.samples for value in sample.files.values()}
    names = {name for name in known if name in values or posixpath.dirname(name) in values}  # a folder of images
    if any(value in contents for value in values):
        names |= set(contents.containers)
    problems = []
    for name in sorted(names):
        try:
            same = digest_raw(subset.root / name) == known[name]
        except OSError as error:
            problems.append(f"{named(name)}: cannot be read ({error.strerror})")
        else:
            problems += [] if same else [f"{named(name)}: has changed since it was prepared"]
    raise_problems(str(subset.root), problems, "Run `bss prepare` again.")


def listed_ids(path: Path, where: str | None, store: Path) -> set[str]:
    """Return the ids in the CSV or Parquet file at `path`, or with `where`, "COLUMN=VALUE", those of such rows.

    Raises `BssError` for a missing file or column, and for ids that the store at `store` does not have.
    """
    if not path.is_file():
        raise BssError(f"{path}: no such file. Give a CSV or Parquet file with the column id.")
    columns, rows = read_rows(path)
    column, _, value = (where or "").partition("=")
    missing = [name for name in ("id", *([column] if where else [])) if name not in columns]
    if missing:
        raise BssError(f"{path}: no column {', '.join(missing)}; it has {', '.join(columns)}.")
    ids = [(number, row["id"].strip()) for number, row in rows if not where or row[column].strip() == value]
    known = set(Store.open(store).ids.tolist())
    problems = [f"row {number}: id {name[:200]!r} is not in the store" for number, name in ids if name not in known]
    raise_problems(str(path), problems, f"{store} has the ids of `bss prepare`; samples it skipped have none.")
    if not ids:
        raise BssError(f"{path}: lists no id{f' with {where}' if where else ''}.")
    return {name for _, name in ids}


def trimmed_ids(config: Config, store: Path, plans: Path, trial: TrialId) -> set[str]:
    """Return the ids of the training samples that the plan of `trial` never shows.

    Raises `BssError` if its scheduler trims none.
    """
    scheduler = config.schedule.schedulers.get(trial.scheduler)
    if scheduler is None:
        raise BssError(f"--scheduler {trial.scheduler}: params.yaml has {', '.join(config.schedule.schedulers)}.")
    data = Store.open(store)
    count = len(data.rows("train"))
    if scheduler.admitted(count) == count:
        raise BssError(f"--scheduler {trial.scheduler}: trims no sample; name one with `trim` in params.yaml.")
    read_trial_plan(config, data, plans, trial)
    table = open_table(seed_path(plans, trial.scheduler, trial.seed), "schedule", ("id", "rank"))
    ranks = table.arrow["rank"].to_pylist()
    return {name for name, rank in zip(table.texts("id"), ranks, strict=True) if rank is None}
