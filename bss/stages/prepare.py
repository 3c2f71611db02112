"""Stage 1: check the manifest and decode every sample once."""

import csv
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.checksums import write_checksums
from bss.data.manifest import Manifest, Sample, check_splits, find_table, groups_in_two_splits, read_manifest
from bss.data.problems import raise_problems
from bss.data.splits import carve_val
from bss.data.store import SPLITS
from bss.data.tables import write_table
from bss.data.truth import read_truth
from bss.data.write_store import Skipped, decode_into, write_header, write_samples
from bss.datasets.read import read_source, write_rows
from bss.errors import BssError
from bss.files import digest_file, held, whole_folder
from bss.tracking.provenance import write_provenance

NO_TRUTH = "Set prepare.truth to null where nothing is known of the pairs."


def prepare(config: Config, root: Path, store: Path) -> None:
    """Read the manifest in `root`, decode its files and write the store.

    Raises `BssError` that lists every problem of the manifest, or every file that cannot be decoded.
    """
    console = make_console()
    settings = config.prepare
    kinds = settings.modalities
    source = None
    if settings.source is None:
        manifest = read_manifest(root, settings.manifest, kinds)
    else:
        source = read_source(settings.source, root, config.protocol, kinds)
        manifest = source.manifest
    check_splits(manifest)
    shared = groups_in_two_splits(manifest)
    if config.protocol == "honest":
        cure = "A model that knows the group has an easy test. Split by group, or set protocol: published."
        raise_problems(str(manifest.path), shared, cure)
    truth = None
    if settings.truth is not None:  # read before the long decoding, so that a mistake is told at once
        truth = read_truth(find_table(root, settings.truth, NO_TRUTH), [sample.id for sample in manifest.samples])
    manifest, val_from = _with_val(manifest, config)
    with held(store), whole_folder(store) as folder:
        skipped = _decode(config, manifest, root, folder, console)
        bad = {entry.sample.id for entry in skipped}
        samples = [sample for sample in manifest.samples if sample.id not in bad]
        _check_what_is_left(manifest, samples)
        write_samples(folder, samples, manifest.classes, list(kinds))
        if truth is not None:
            kept = [i for i, sample in enumerate(manifest.samples) if sample.id not in bad]
            write_table(folder / "truth.parquet", {name: [v[i] for i in kept] for name, v in truth.items()})
        _write_skipped(folder / "skipped.csv", skipped)
        write_checksums(folder / "files.sha256", root, samples, kinds)
        inputs = {"files": digest_file(folder / "files.sha256")}
        if source is None:
            inputs["manifest"] = digest_file(manifest.path)
        else:
            write_rows(folder / "manifest.csv", source.rows, manifest)
            inputs["manifest"] = digest_file(folder / "manifest.csv")
        header = write_header(folder, root.resolve().name, samples, manifest.classes, kinds)
        parameters = {"prepare": config_to_tree(settings), "protocol": config.protocol}
        write_provenance(folder, "prepare", inputs, parameters)
    _print(console, header, manifest, skipped, val_from, shared, source.notes if source else [])


def _with_val(manifest: Manifest, config: Config) -> tuple[Manifest, str]:
    """Return the manifest with a val split, where the protocol needs one, and where it comes from."""
    if any(sample.split == "val" for sample in manifest.samples):
        return manifest, "val from the manifest"
    if config.protocol == "published":  # as the authors do: all of train is trained on
        return manifest, "no val"
    grouped = any(sample.group is not None for sample in manifest.samples)
    carved = carve_val(manifest, config.prepare.val_share)
    return carved, f"val from train, by {'group and class' if grouped else 'class'}"


def _decode(config: Config, manifest: Manifest, root: Path, folder: Path, console: Console) -> list[Skipped]:
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("prepare: decoding", total=len(manifest.samples))
        skipped = decode_into(
            folder, manifest, root, config.prepare.modalities, lambda count: progress.advance(task, count)
        )
    if config.prepare.on_bad_sample == "error" or len(skipped) == len(manifest.samples):
        problems = [f"row {entry.sample.row} (id {entry.sample.id}): {entry.reason}" for entry in skipped]
        cure = "Mend these files, or set prepare.on_bad_sample: skip to leave their samples out."
        raise_problems(str(manifest.path), problems, cure)
    return skipped


def _check_what_is_left(manifest: Manifest, samples: list[Sample]) -> None:
    """Skipping may not empty a split, or a class in train."""
    for split in SPLITS:
        had, has = (any(sample.split == split for sample in some) for some in (manifest.samples, samples))
        if had and not has:
            raise BssError(f"{manifest.path}: every sample of {split} was skipped. Mend some of their files.")
    left = {sample.label for sample in samples if sample.split == "train"}
    gone = [name for name in manifest.classes if name not in left]
    if gone:
        raise BssError(f"{manifest.path}: all train samples of {', '.join(gone)} were skipped. Mend some of them.")


def _write_skipped(path: Path, skipped: list[Skipped]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "row", "reason"])
        writer.writerows([entry.sample.id, entry.sample.row, entry.reason] for entry in skipped)


def _print(
    console: Console,
    header: dict[str, Any],
    manifest: Manifest,
    skipped: list[Skipped],
    val_from: str,
    shared: list[str],
    notes: list[str],
) -> None:
    # Names of the user's folder and columns may hold square brackets, which are no markup here.
    title = Text(f"Store of {header['name']}: {len(header['classes'])} classes, {val_from}")
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("modality", "kind", "shape", "type", *SPLITS):
        table.add_column(column)
    counts = [str(header["counts"][split]) for split in SPLITS]
    for name, m in header["modalities"].items():
        table.add_row(name, m["kind"], " x ".join(map(str, m["shape"])), m["dtype"], *counts)
    console.print(table)
    notes = list(notes)
    if skipped:
        notes.append(f"samples skipped: {len(skipped)}, listed in skipped.csv")
    if manifest.unused:
        notes.append(f"columns that nothing reads: {', '.join(manifest.unused)}")
    if shared:
        notes.append(f"{len(shared)} groups are in two splits (protocol published)")
    for note in notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
