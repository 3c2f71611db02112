"""End of stage 1 with shards: join their parts to the store."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bss.config import Config
from bss.config.modalities import AudioKind, TextKind
from bss.console import make_console
from bss.data.checksums import join_checksums
from bss.data.decisions import FILE as DECISIONS
from bss.data.decode.altered import join_altered
from bss.data.decode.learned_tokenizer import FILES, copy_tokenizers, tokenizer_folder
from bss.data.join_arrays import join_arrays, join_ends
from bss.data.preprocessing import PREPROCESSING
from bss.data.read_csv import read_csv
from bss.data.shards import FIX, Part, in_order, read_part
from bss.data.store import Store
from bss.data.tables import read_table, write_table
from bss.data.text_lengths import cut_notes, lengths_column
from bss.data.write_store import write_header
from bss.deciding import DECIDING_CODE, code_digest
from bss.errors import BssError, raise_problems
from bss.files import digest_file, digest_json, held, read_json, whole_folder
from bss.provenance import provenance
from bss.stages.prepare import (
    check_what_is_left,
    parameters_of,
    print_store,
    raise_bad_samples,
    row_number,
    write_skipped,
    write_store_provenance,
)

WHERE = "parts of the store"


def join_shards(config: Config, data: str, folders: Sequence[Path], store: Path) -> None:
    """Join the parts from `bss.stages.prepare`, one per shard of the version `data`, to the store.

    The result is byte-identical to a store prepared without shards. Nothing is decoded, and arrays are copied block by
    block. Raises `BssError` if the parts do not belong together, or too few samples are left after skipping.
    """
    settings = config.prepare
    parts = in_order([read_part(folder) for folder in folders], data)
    origin = _check_origin(config, parts)
    stores = [Store.open(part.path) for part in parts]
    _check_contents(stores)
    counts, manifest = parts[0].counts, settings.source or settings.manifest
    skipped = [row for part in parts for row in _read_skipped(part.path / "skipped.csv")]
    skipped.sort(key=row_number)
    if len(skipped) + sum(map(len, stores)) != sum(counts.values()) + parts[0].bad_rows:
        raise BssError(f"{WHERE}: do not have the {sum(counts.values())} samples of {manifest}. {FIX}")
    filled = [part.path for part, opened in zip(parts, stores, strict=True) if len(opened)]
    if not filled:
        raise_bad_samples(manifest, skipped)
    samples = _joined([path / "samples.parquet" for path in filled])
    splits = samples["split"].to_pylist()
    check_what_is_left(manifest, counts, stores[0].classes, splits, samples["label_name"].to_pylist())
    with held(store), whole_folder(store) as folder:
        for name, kind in settings.modalities.items():
            join_arrays([path / f"{name}.npy" for path in filled], folder / f"{name}.npy")
            if isinstance(kind, AudioKind):
                join_ends([path / f"{name}.ends.npy" for path in filled], folder / f"{name}.ends.npy")
        copy_tokenizers(filled[0], settings.modalities, folder)
        write_table(folder / "samples.parquet", samples | {"index": np.arange(len(splits))})
        if settings.truth is not None:
            write_table(folder / "truth.parquet", _joined([path / "truth.parquet" for path in filled]))
        write_skipped(folder / "skipped.csv", skipped)
        join_checksums([part.path / "files.sha256" for part in parts], folder / "files.sha256")
        if settings.source is not None:  # every part has it for the whole data
            shutil.copyfile(parts[0].path / "manifest.csv", folder / "manifest.csv")
        if settings.decisions is not None:  # the same
            shutil.copyfile(parts[0].path / DECISIONS, folder / DECISIONS)
        shutil.copyfile(parts[0].path / PREPROCESSING, folder / PREPROCESSING)
        altered = join_altered(opened.altered for opened in stores)
        classes = list(stores[0].classes)
        shapes = next(opened.modalities for opened in stores if len(opened))
        sizes = {name: m.vocabulary for name, m in shapes.items() if m.vocabulary is not None}
        kinds = settings.modalities
        header = write_header(folder, stores[0].name, Counter(splits), classes, kinds, altered, sizes)
        inputs = {"files": digest_file(folder / "files.sha256"), **origin}
        write_store_provenance(folder, inputs, config)
    title = f"Store of {header['name']}: {len(header['classes'])} classes, joined from {len(parts)} shards"
    lengths = {
        name: samples[lengths_column(name)].to_pylist()
        for name, kind in settings.modalities.items()
        if isinstance(kind, TextKind)
    }
    print_store(make_console(), title, header, len(skipped), cut_notes(lengths, settings.modalities))


def _check_origin(config: Config, parts: Sequence[Part]) -> dict[str, str]:
    """Return the digests of the manifest behind all `parts` and, if there are any, of the decisions.

    Raises `BssError` for all parts that differ from the first one in these, or that were made with other parameters
    than `config`, or other code or libraries than the current ones.
    """
    expected = provenance("prepare", {}, parameters_of(config))
    found = [read_json(part.path / "provenance.json", "prepare", {"inputs": dict}) for part in parts]
    names = ("manifest",) if config.prepare.decisions is None else ("manifest", "decisions")
    origins = [{name: str(record["inputs"].get(name)) for name in names} for record in found]
    problems = []
    for part, record, origin in zip(parts, found, origins, strict=True):
        other = [
            key for key in ("parameters", "environment") if digest_json(record.get(key)) != digest_json(expected[key])
        ]
        other += ["code"] * (record.get(DECIDING_CODE) != code_digest("prepare"))
        other += [name for name in names if origin[name] != origins[0][name]]
        if other:
            problems.append(f"{part.path}: made with different {', '.join(other)}")
    raise_problems(WHERE, problems, FIX)
    return origins[0]


def _check_contents(stores: Sequence[Store]) -> None:
    """Raise `BssError` if the parts differ in classes or modalities."""
    named = {(store.name, store.classes) for store in stores}
    # The largest token differs between parts.
    shapes = {str({name: replace(m, largest=None) for name, m in s.modalities.items()}) for s in stores if len(s)}
    if len(named) > 1 or len(shapes) > 1:
        raise BssError(f"{WHERE}: have different classes, or samples of different shapes. {FIX}")
    learned = [s.path / tokenizer_folder(name) / file for s in stores for name in s.modalities for file in FILES]
    found = {(path.parent.name, path.name, digest_file(path)) for path in learned if path.exists()}
    if len(found) > len({(name, file) for name, file, _ in found}):
        raise BssError(f"{WHERE}: have learned different tokenizers. {FIX}")


def _read_skipped(path: Path) -> list[tuple[str, int, str]]:
    """Return id, manifest row and problem of the samples that a shard left out."""
    columns, rows = read_csv(path)
    if columns != ["id", "row", "reason"]:
        raise BssError(f"{path}: damaged (has the columns {columns}). {FIX}")
    try:
        return [(row["id"], int(row["row"]), row["reason"]) for _, row in rows]
    except ValueError as error:
        raise BssError(f"{path}: damaged ({error}). {FIX}") from error


def _joined(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the concatenated columns of the tables `paths`, each as one chunk."""
    import pyarrow

    whole = pyarrow.concat_tables([read_table(path, "prepare") for path in paths])
    return {name: whole[name].combine_chunks() for name in whole.column_names}
