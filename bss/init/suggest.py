"""A first params.yaml for a manifest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bss.config import Config, config_from_tree
from bss.config.load import parse_yaml
from bss.config.schema import Links, PrepareConfig
from bss.data.decode.quiet import without_notes
from bss.data.embedded.contents import Contents
from bss.data.embedded.rows import read_tables
from bss.data.manifest import Manifest, check_splits, groups_in_two_splits, read_manifest
from bss.data.manifest_files import is_pattern, manifest_files
from bss.data.read_csv import Row
from bss.data.rows import REQUIRED
from bss.data.same_files import file_keys, file_modalities, files_in_two_splits, keys_of, named_files
from bss.data.splits import carve_val
from bss.data.table_contents import header_note
from bss.errors import BssError, raise_problems
from bss.files import whole_file
from bss.init.cautions import manifest_cautions, measurement_caution
from bss.init.column_facts import Facts, require_some_readable
from bss.init.inside_tables import look_inside
from bss.init.modality import Guess, guess
from bss.init.templates import render
from bss.init.yaml_style import flow_style

VAL_SHARES = (PrepareConfig.val_share, 0.25, 0.34, 0.5)
"""Tried in order until a val split is possible."""
MANY = 5000
"""From this many training samples, fewer epochs are enough."""


@dataclass(frozen=True)
class Suggestion:
    """What `bss init` found and what it would write."""

    manifest: Manifest
    """The manifest, including the val split."""
    guesses: dict[str, Guess]
    """Guesses by modality, in the manifest's order."""
    carved: bool
    """Whether val is split off from train."""
    cautions: list[str]
    text: str
    """The new params.yaml; it passes every check of the parameters."""
    config: Config
    """The same, checked."""


def suggest(
    path: Path, project: Path, on_column: Callable[[str], None] = lambda name: None, links: Links = "inside"
) -> Suggestion:
    """Inspect the manifest at `path` and some of its files, and suggest parameters.

    `project` is the folder of the new params.yaml, `links` its prepare.links; `on_column` is called with the name of a
    column before its files are inspected. Raises `BssError` for a manifest that cannot be trained on, fewer than two
    modalities, and a data folder that DVC could not watch.
    """
    root, manifest_name = split_name(path)
    name = root_for(root, project)
    columns, rows, faults, contents = _table(root, manifest_name, links)
    facts = {}
    for column in columns:
        if column not in (*REQUIRED, "group") and column not in faults:
            on_column(column)
            with without_notes():
                facts[column] = look_inside(root, [row[column] for _, row in rows], links, contents)
    ends = {f"{column}_{end}" for column in facts for end in ("start", "end")}
    guesses = {}
    for column, found in facts.items():
        if column in ends:
            continue
        require_some_readable(column, found)
        of_train = [row[column] for _, row in rows if row["split"] == "train"]
        has_span = bool({f"{column}_start", f"{column}_end"} & set(columns))
        made = guess(column, found, has_span, root, of_train, links)
        if made is not None:
            guesses[column] = made
    no_text = [f"column {column!r}{why}" for column, why in faults.items()]
    strange = _strange_files(guesses, facts)
    _check_modalities(path, guesses, columns, [*no_text, *strange])
    prepare = _prepare_section(name, guesses)
    manifest = read_manifest(root, manifest_name, prepare.modalities, "skip", links)
    try:
        check_splits(manifest)
    except BssError as error:  # measurements make nearly every value a new class, and each one a problem
        raise BssError(
            "\n".join([*(f"{path}: {line}." for line in measurement_caution(manifest)), str(error)])
        ) from error
    shared = groups_in_two_splits(manifest)
    files = named_files(manifest.samples, prepare.modalities)
    keys = file_keys(root, files, links=links, contents=manifest.contents)
    shared_files = files_in_two_splits(manifest.samples, prepare.modalities, keys)
    carved = not any(sample.split == "val" for sample in manifest.samples)
    val_share = prepare.val_share
    if carved:
        of_files = file_modalities(prepare.modalities)
        of_samples = [keys_of(sample.files, of_files, keys) for sample in manifest.samples]
        manifest, val_share = _carve(manifest, None if shared_files else of_samples)
    train = sum(sample.split == "train" for sample in manifest.samples)
    epochs = 24 if train < MANY else 12
    text = render(
        "params.yaml.j2",
        root=flow_style(name),
        manifest=flow_style(manifest_name),
        links=links,
        protocol="published" if shared or shared_files else "honest",
        guesses=guesses,
        val_share=val_share,
        epochs=epochs,
        decay_at=epochs * 2 // 3,
        grow_epochs=epochs // 3,
        batch_size=_batch_size(train),
    )
    config = config_from_tree(parse_yaml(text, "params.yaml"), "params.yaml")
    cautions = [*_bad_rows(manifest), *no_text, *manifest_cautions(manifest)]
    cautions += [*_column_cautions(guesses, facts), *strange, *_unused(guesses, columns)]
    if shared:
        leak = (
            f"{len(shared)} groups are in two splits ({shared[0]}): using protocol: published, whose accuracies are "
            "too high. Split by group and set protocol: honest"
        )
        cautions.insert(0, leak)
    if shared_files:
        leak = (
            f"{len(shared_files)} files are in two splits ({shared_files[0]}): using protocol: published, whose "
            "accuracies are too high. Split by file, or list files that splits may share in prepare.shared_files, "
            "such as a silent sound used if none was recorded, and set protocol: honest"
        )
        cautions.insert(0, leak)
    return Suggestion(manifest, guesses, carved, cautions, text, config)


def root_for(root: Path, project: Path) -> str:
    """Return the data folder for params.yaml: relative if it lies inside the project."""
    if not root.is_dir():
        raise BssError(f"{root}: no such folder.")
    real, home = root.resolve(), project.resolve()
    if home.is_relative_to(real):
        raise BssError(
            f"{root}: the manifest is in the project's folder or above it, and DVC watches all of the manifest's "
            "folder. Move manifest and files to a separate folder, such as data/birds."
        )
    return real.relative_to(home).as_posix() if real.is_relative_to(home) else real.as_posix()


def split_name(path: Path) -> tuple[Path, str]:
    """Return the data root and the manifest's name in it; a folder is its own root, with the name ``.``."""
    if path.is_dir():
        return path, "."
    if path.exists():
        return path.parent, path.name
    parts = path.parent.parts
    root = Path(*parts[: next((number for number, part in enumerate(parts) if is_pattern(part)), len(parts))])
    return root, path.relative_to(root).as_posix()


def _table(root: Path, name: str, links: Links) -> tuple[list[str], list[Row], dict[str, str], Contents]:
    """Return the columns, the rows, why some columns, which the rows leave out, are not text, and the files inside."""
    fix = f"Give a CSV or Parquet file with the columns {', '.join(REQUIRED)}, a dataset's folder, or a pattern."
    files = manifest_files(root, name, links, fix)
    tables = read_tables(root, files)  # rows that are too short or too long are listed with the other bad ones
    path, columns = root / name, tables.columns
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise BssError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it has {columns}. "
            f"Needed: id, label, split (train, val, test), and one column per modality.{header_note(columns, missing)}"
        )
    rows = list(tables.rows)
    if not rows:
        problems = [f"row {row}: {problem}" for row, found in tables.faults.items() for problem in found]
        raise_problems(str(path), problems, "Fix these rows of the manifest.")
        raise BssError(f"{path}: has a header but no samples.")
    return columns, rows, tables.no_text, tables.contents


def _bad_rows(manifest: Manifest) -> list[str]:
    """Return a line about unusable manifest rows, if there are any."""
    lines = [line for bad in manifest.bad for line in bad.lines()]
    if not lines:
        return []
    return [
        f"{len(manifest.bad)} of {len(manifest.bad) + len(manifest.samples)} rows cannot be used "
        f"({'; '.join(lines[:3])}{'; ...' if len(lines) > 3 else ''}): correct them, or set prepare.on_bad_sample: skip"
    ]


def _check_modalities(path: Path, guesses: dict[str, Guess], columns: list[str], no_text: list[str]) -> None:
    if len(guesses) < 2:
        found = ", ".join(f"{name} ({guess.kind['kind']})" for name, guess in guesses.items()) or "none"
        raise BssError(
            f"{path}: needs two or more modalities, found {found} among the columns {columns}. A modality's "
            "column holds paths relative to the manifest's folder (sounds, images, videos, folders of images, .npy, "
            ".txt) or texts of several words." + "".join(f"\n{path}: {line}." for line in no_text)
        )
    odd = [name for name in guesses if not name.isidentifier()]
    if odd:
        raise BssError(f"{path}: rename the columns {odd}: a modality's name has letters, digits and _ only.")


def _prepare_section(root: str, guesses: dict[str, Guess]) -> PrepareConfig:
    from bss.config.load import check_tree

    modalities = {name: made.kind for name, made in guesses.items()}
    return check_tree({"root": root, "modalities": modalities}, PrepareConfig, "params.yaml: prepare")


def _carve(manifest: Manifest, files: list[frozenset[str]] | None) -> tuple[Manifest, float]:
    """Return the manifest with a val split, and the smallest share of train that allows one."""
    for share in VAL_SHARES:
        try:
            return carve_val(manifest, share, files), share
        except BssError as error:
            refused = error
    raise refused


def _batch_size(train: int) -> int:
    """Return a power of two from 2 to 64 that gives at least 16 steps per epoch if possible."""
    return max(2, min(64, 2 ** ((train // 16).bit_length() - 1))) if train >= 32 else 2


def _column_cautions(guesses: dict[str, Guess], facts: dict[str, Facts]) -> list[str]:
    cautions = [f"{name}: {made.caution}" for name, made in guesses.items() if made.caution]
    for name in guesses:
        bad = facts[name].unreadable
        if bad:
            cautions.append(f"{name}: {len(bad)} of {facts[name].values} values cannot be used, such as {bad[0]}")
        loud = [peak for peak in facts[name].peaks if peak > 1]
        if guesses[name].kind["kind"] == "audio" and loud:
            cautions.append(
                f"{name}: {len(loud)} of {len(facts[name].peaks)} sounds exceed full scale (peak {max(loud):.3g}): "
                "they will be clipped to [-1, 1]"
            )
        silent = facts[name].peaks.count(0.0)
        if guesses[name].kind["kind"] == "audio" and silent:
            cautions.append(f"{name}: {silent} of {len(facts[name].peaks)} sounds are silent throughout")
        if guesses[name].kind["kind"] == "image" and facts[name].several:
            cautions.append(
                f"{name}: {facts[name].several} of {len(facts[name].sizes)} files are animations or have several "
                "pages; only the first image is kept: convert animations to MP4, pages to a folder of images"
            )
        if len(facts[name].forms) > 1:
            mixed = ", ".join(f"{count} {form}" for form, count in facts[name].forms.most_common())
            cautions.append(f"{name}: mixes different forms ({mixed})")
    return cautions


def _strange_files(guesses: dict[str, Guess], facts: dict[str, Facts]) -> list[str]:
    """Return a line for each column that is left out although it names files."""
    lines = []
    for name, found in facts.items():
        if name not in guesses and found.strange_files:
            suffixes = ", ".join(suffix or "no suffix" for suffix in sorted(found.strange_files))
            lines.append(
                f"{name}: left out, because no kind reads its files ({suffixes}). Features are .npy files of "
                "one array each, texts are .txt; give other files the suffix of their format"
            )
    return lines


def _unused(guesses: dict[str, Guess], columns: list[str]) -> list[str]:
    used = {f"{name}{end}" for name in guesses for end in ("", "_start", "_end")}
    unused = [column for column in columns if column not in used | {*REQUIRED, "group"}]
    return [f"unused columns: {', '.join(unused)}"] * bool(unused)


def check_new(path: Path, force: bool) -> None:
    """Raise `BssError` if `path` exists, unless `force`, or if its folder is missing."""
    if path.exists() and not force:
        raise BssError(f"{path}: already exists. Choose another path with --output, or overwrite it with --force.")
    if not path.parent.is_dir():
        raise BssError(f"{path.parent}: no such folder.")


def write_new(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")
