"""Stage 1: check the manifest and decode every sample once."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bss.config import Config, config_to_tree
from bss.config.modalities import ModalityKind
from bss.config.schema import Links
from bss.console import make_console
from bss.data.checksums import write_checksums
from bss.data.decisions import FILE, Decisions, read_decisions
from bss.data.decode.altered import AlteredValues, altered_from_tree, describe_altered
from bss.data.learned_tokenizers import learn_tokenizers
from bss.data.manifest import Manifest, check_splits, find_table, groups_in_two_splits, read_manifest
from bss.data.manifest_files import name_in
from bss.data.preprocessing import write_preprocessing
from bss.data.raw_files import digest_raw
from bss.data.same_files import Keys, file_keys, file_modalities, files_in_two_splits, keys_of, named_files
from bss.data.shards import Shard, write_part
from bss.data.splits import carve_val
from bss.data.store import SPLITS
from bss.data.tables import write_table
from bss.data.text_lengths import cut_notes, token_lengths, vocabularies
from bss.data.truth import read_truth
from bss.data.write_store import decode_into, write_header, write_samples
from bss.datasets.read import Source, read_source, write_rows
from bss.deciding import DECIDING_CODE, code_digest
from bss.errors import BssError, raise_problems
from bss.files import digest_file, digest_json, held, whole_folder
from bss.provenance import write_provenance

SHARED_FILES_FIX = (
    "A model that has seen a file has an easy test. Put all samples of a file into one split. List files that several "
    "splits may share, such as a silent sound used if none was recorded, in prepare.shared_files; "
    "protocol: published allows all files."
)
NO_TRUTH = "Set prepare.truth to null if there is no ground truth."


@dataclass(frozen=True)
class Checked:
    """The checked manifest, before any file is decoded."""

    manifest: Manifest
    """The manifest, with a val split if the protocol needs one, after decisions."""
    original: Manifest
    """The same before the decisions."""
    decided: Decisions
    source: Source | None
    """The published dataset behind the manifest."""
    truth: dict[str, list[str]] | None
    """Ground truth of each sample, in the manifest's order."""
    val_from: str
    """Origin of the val split."""
    notes: list[str]
    """Notes for the user."""


def prepare(config: Config, root: Path, store: Path, shard: Shard | None = None) -> None:
    """Read the manifest in `root`, decode its files and write the store.

    With `shard`, only its samples are decoded, and `store` is a part for `bss.stages.join_shards`
    to join; the whole manifest is still read and checked. Raises `BssError` with all problems of the
    manifest, or all undecodable files.
    """
    console = make_console()
    checked = check_manifest(config, root)
    manifest = checked.manifest
    counts = Counter(sample.split for sample in manifest.samples)
    rows = range(len(manifest.samples)) if shard is None else shard.rows(len(manifest.samples))
    with held(store), whole_folder(store) as folder:
        links = config.prepare.links
        kinds = learn_tokenizers(folder, config.prepare.modalities, manifest.samples, root, links)
        skipped, altered = _decode(kinds, links, manifest, rows, root, folder, console)
        if config.prepare.on_bad_sample == "error" or (shard is None and len(skipped) == len(rows)):
            raise_bad_samples(str(manifest.path), skipped)
        bad = {name for name, _, _ in skipped}
        kept = [i for i in rows if manifest.samples[i].id not in bad]
        samples = [manifest.samples[i] for i in kept]
        splits = [sample.split for sample in samples]
        if shard is None:
            labels = [sample.label for sample in samples]
            check_what_is_left(str(manifest.path), counts, manifest.classes, splits, labels)
        else:
            write_part(folder, shard, counts, len(manifest.bad))
        if shard is None or shard.number == 0:  # once, whatever the number of shards
            bad_rows = [(row.id, row.row, row.reason) for row in manifest.bad]
            skipped = sorted([*skipped, *bad_rows], key=row_number)
        lengths = token_lengths(samples, kinds, root, links)
        ignored = None if checked.decided.digest is None else checked.decided.ignored(samples)
        write_samples(folder, manifest.recorded(samples), manifest.classes, list(kinds), lengths, ignored)
        if checked.truth is not None:
            write_table(folder / "truth.parquet", {name: [v[i] for i in kept] for name, v in checked.truth.items()})
        write_skipped(folder / "skipped.csv", skipped)
        digests = write_checksums(folder / "files.sha256", root, samples, kinds, links, manifest.contents)
        write_preprocessing(folder, config.prepare.modalities, kinds, root)
        inputs = {"files": digest_file(folder / "files.sha256")}
        if checked.source is not None:
            write_rows(folder / "manifest.csv", checked.source.rows, checked.original)
        inputs["manifest"] = _digest_manifest(checked.source, checked.original, root, digests)
        if checked.decided.digest is not None:
            inputs["decisions"] = checked.decided.digest
            checked.decided.write(folder / FILE, checked.original)
        name, sizes = root.resolve().name, vocabularies(kinds, root)
        header = write_header(folder, name, Counter(splits), manifest.classes, kinds, altered, sizes)
        write_store_provenance(folder, inputs, config)
    what = "Store" if shard is None else f"Shard {shard.number} of {shard.of} of the store"
    title = f"{what} of {header['name']}: {len(header['classes'])} classes, {checked.val_from}"
    print_store(console, title, header, len(skipped), [*checked.notes, *cut_notes(lengths, kinds)])


def check_manifest(config: Config, root: Path) -> Checked:
    """Read the manifest and check everything that does not need decoding."""
    settings, source, notes = config.prepare, None, []
    if settings.source is None:
        on_bad, links = settings.on_bad_sample, settings.links
        manifest = read_manifest(root, settings.manifest, settings.modalities, on_bad, links)
        files = named_files(manifest.samples, settings.modalities)
        keys = file_keys(root, files, settings.shared_files, links, manifest.contents)
    else:
        choices = (settings.on_bad_sample, settings.shared_files, settings.links)
        source = read_source(settings.source, root, config.protocol, settings.modalities, *choices)
        manifest, keys = source.manifest, source.keys
        notes += source.notes
    check_splits(manifest)
    original, val_from = _with_val(manifest, config, keys)  # before the decisions: they must not change what val is
    decided = _decided(config, root, source, original)
    manifest = decided.applied_to(original)
    shared = groups_in_two_splits(manifest)
    shared_files = files_in_two_splits(manifest.samples, settings.modalities, keys)
    if config.protocol == "honest":
        fix = "A model that has seen the group has an easy test. Split by group, or set protocol: published."
        raise_problems(str(manifest.path), shared, fix)
        raise_problems(str(manifest.path), shared_files, SHARED_FILES_FIX)
    truth = None
    if settings.truth is not None:  # read before the long decoding, to report mistakes early
        table = find_table(root, settings.truth, NO_TRUTH, settings.links)
        truth = read_truth(table, [sample.id for sample in manifest.samples])
    if manifest.unused:
        notes.append(f"unused columns: {', '.join(manifest.unused)}")
    if manifest.bad:
        notes.append(f"rows of the manifest skipped: {len(manifest.bad)}, such as {manifest.bad[0].lines()[0]}")
    if shared:
        notes.append(f"{len(shared)} groups are in two splits (protocol published)")
    if shared_files:
        notes.append(f"{len(shared_files)} files are in two splits, such as: {shared_files[0]} (protocol published)")
    notes += [_decisions_note(decided)] if decided.digest is not None else []
    return Checked(manifest, original, decided, source, truth, val_from, notes)


def _decided(config: Config, root: Path, source: Source | None, manifest: Manifest) -> Decisions:
    """Return the decisions about `manifest`, none without prepare.decisions."""
    settings = config.prepare
    if settings.decisions is None:
        return Decisions()
    path = find_table(root, settings.decisions, "Set prepare.decisions to null if nothing is decided.", settings.links)
    digest = _digest_manifest(source, manifest, root)
    return read_decisions(path, manifest, digest, list(settings.modalities), settings.decide_test)


def _digest_manifest(
    source: Source | None, manifest: Manifest, root: Path, known: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the sha256 of the manifest: `digest_manifest`, or of the file that the store gets of a published dataset.

    `known` are digests of files by name.
    """
    if source is None:
        return digest_manifest(manifest, root, known)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        write_rows(path, source.rows, manifest)
        return digest_file(path)


def _decisions_note(decided: Decisions) -> str:
    counts = Counter(decision.kind for decision in decided.by_id.values())
    return "decisions: " + (", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none")


def digest_manifest(manifest: Manifest, root: Path, known: Mapping[str, str]) -> str:
    """Return the sha256 of the manifest's file, or of the names and digests of its files.

    `known` are digests by name that need not be computed again.
    """
    names = {name_in(root, file): file for file in manifest.files}
    digests = {name: known.get(name) or digest_raw(file) for name, file in names.items()}
    return next(iter(digests.values())) if len(digests) == 1 else digest_json(digests)


def parameters_of(config: Config) -> dict[str, Any]:
    """Return the parameters that decide a store."""
    return {"prepare": config_to_tree(config.prepare), "protocol": config.protocol}


def write_store_provenance(folder: Path, inputs: dict[str, str], config: Config) -> None:
    """Write provenance.json of a store, or of a part of one, with what `join_shards` compares of its code."""
    write_provenance(folder, "prepare", inputs, parameters_of(config), {DECIDING_CODE: code_digest("prepare")})


def _with_val(manifest: Manifest, config: Config, keys: Keys) -> tuple[Manifest, str]:
    """Return the manifest, with a val split if the protocol needs one, and the origin of val."""
    if any(sample.split == "val" for sample in manifest.samples):
        if config.prepare.source is None:
            return manifest, "val from the manifest"
        return manifest, f"val from the {'published' if config.protocol == 'published' else 'honest'} split"
    if config.protocol == "published":  # like the authors: train on all of train
        return manifest, "no val"
    grouped = any(sample.group is not None for sample in manifest.samples)
    of_files = file_modalities(config.prepare.modalities)
    files = [keys_of(sample.files, of_files, keys) for sample in manifest.samples]
    carved = carve_val(manifest, config.prepare.val_share, files)
    return carved, f"val from train, by {'group and class' if grouped else 'class'}"


def _decode(
    kinds: dict[str, ModalityKind],
    links: Links,
    manifest: Manifest,
    rows: range,
    root: Path,
    folder: Path,
    console: Console,
) -> tuple[list[tuple[str, int, str]], AlteredValues]:
    """Decode the samples `rows` into `folder`.

    Returns id, manifest row and problem of the bad ones, and the alterations of the others.
    """
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("prepare: decoding", total=len(rows))
        found, altered = decode_into(folder, manifest, rows, root, kinds, lambda n: progress.advance(task, n), links)
    return [(entry.sample.id, entry.sample.row, entry.reason) for entry in found], altered


def raise_bad_samples(manifest: str, skipped: Iterable[tuple[str, int, str]]) -> None:
    """Raise `BssError` for bad samples (id, manifest row, problem); return if there are none."""
    problems = [f"row {row} (id {name}): {reason}" for name, row, reason in skipped]
    fix = "Fix these files, or set prepare.on_bad_sample: skip to leave out their samples."
    raise_problems(manifest, problems, fix)


def check_what_is_left(
    manifest: str, counts: Mapping[str, int], classes: Sequence[str], splits: Sequence[str], labels: Sequence[str]
) -> None:
    """Raise `BssError` if skipping has emptied a split, or a class in train.

    `counts` are the samples of each split in the manifest, `splits` and `labels` those of the remaining samples.
    """
    for split in SPLITS:
        if counts.get(split) and split not in splits:
            raise BssError(f"{manifest}: every sample of {split} was skipped. Fix some of their files.")
    left = {label for split, label in zip(splits, labels, strict=True) if split == "train"}
    gone = [name for name in classes if name not in left]
    if gone:
        raise BssError(f"{manifest}: all train samples of {', '.join(gone)} were skipped. Fix some of them.")


def row_number(skipped: tuple[str, int, str]) -> int:
    """Return the manifest row of a left-out sample, as the sort key."""
    return skipped[1]


def write_skipped(path: Path, skipped: Iterable[tuple[str, int, str]]) -> None:
    """Write id, manifest row and problem of the samples that were left out."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "row", "reason"])
        writer.writerows((name, int(row), reason) for name, row, reason in skipped)


def print_store(console: Console, title: str, header: dict[str, Any], skipped: int, notes: Sequence[str]) -> None:
    """Print an overview of a store from which `skipped` samples were left out."""
    # Names of the user's folder and columns may contain square brackets, which are not markup here.
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("modality", "kind", "shape", "type", *SPLITS):
        table.add_column(column)
    counts = [str(header["counts"][split]) for split in SPLITS]
    for name, m in header["modalities"].items():
        table.add_row(name, m["kind"], " x ".join(map(str, m["shape"])), m["dtype"], *counts)
    console.print(table)
    for line in describe_altered(altered_from_tree(header["altered"])):
        console.print(f"Caution: {line}.", highlight=False, markup=False, soft_wrap=True)
    if skipped:
        notes = [f"samples skipped: {skipped}, listed in skipped.csv", *notes]
    for note in notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
