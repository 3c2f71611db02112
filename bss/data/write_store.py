"""Writing a store: every file decoded once, memory bounded whatever the size of the data."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bss.config.modalities import ModalityKind
from bss.data.decode import Array, BadSampleError, Decoder, make_decoder
from bss.data.decode.bad_sample import named
from bss.data.manifest import Manifest, Sample
from bss.data.store import SCHEMA_VERSION, SPLITS, digest_store
from bss.data.tables import write_table
from bss.files import write_json

CHUNK = 256
"""Samples in memory at a time, at most."""
CHUNK_BYTES = 256 << 20
"""Size of the samples in memory at a time, where the processors are kept busy with fewer than `CHUNK`."""


@dataclass(frozen=True)
class Skipped:
    """A sample that could not be decoded."""

    sample: Sample
    reason: str
    """Modality, file and what is wrong with it, for each bad file."""


def decode_into(
    folder: Path,
    manifest: Manifest,
    root: Path,
    kinds: dict[str, ModalityKind],
    on_progress: Callable[[int], None],
) -> list[Skipped]:
    """Decode every sample of `manifest` into ``<modality>.npy``; bad samples leave no row.

    `on_progress` gets the number of samples since the last call. Returns the bad samples, in order; when
    all are bad no array is written.
    """
    skipped: list[Skipped] = []
    arrays: dict[str, Array] = {}
    filled = 0
    decoders = {name: make_decoder(kind, root, name) for name, kind in kinds.items()}
    with ThreadPoolExecutor() as pool:
        start = 0
        while start < len(manifest.samples):
            chunk = manifest.samples[start : start + _chunk_length(arrays)]
            start += len(chunk)
            decoded = pool.map(lambda sample: _decode_sample(sample, decoders), chunk)
            for sample, parts in zip(chunk, decoded, strict=True):
                unfit = {name: _why_unfit(part, arrays.get(name)) for name, part in parts.items()}
                reasons = [f"{name} {named(sample.files[name])}: {why}" for name, why in unfit.items() if why]
                if reasons:
                    skipped.append(Skipped(sample, "; ".join(reasons)))
                    continue
                for name, part in parts.items():
                    assert not isinstance(part, BadSampleError)
                    if name not in arrays:
                        shape = (len(manifest.samples), *part.shape)
                        file = folder / f"{name}.npy"
                        arrays[name] = np.lib.format.open_memmap(file, mode="w+", dtype=part.dtype, shape=shape)
                    arrays[name][filled] = part
                filled += 1
            on_progress(len(chunk))
    for name, array in arrays.items():
        array.flush()  # type: ignore[attr-defined]
        if skipped:
            _shorten(folder / f"{name}.npy", filled)
    return skipped


def write_samples(folder: Path, samples: list[Sample], classes: list[str], modalities: list[str]) -> None:
    """Write samples.parquet; row i belongs to row i of every array."""
    number = {name: index for index, name in enumerate(classes)}
    columns: dict[str, Any] = {
        "index": np.arange(len(samples)),
        "id": [s.id for s in samples],
        "label": np.array([number[s.label] for s in samples]),
        "label_name": [s.label for s in samples],
        "split": [s.split for s in samples],
        "group": _nullable([s.group for s in samples]),
    }
    columns |= {name: [s.files[name] for s in samples] for name in modalities}
    write_table(folder / "samples.parquet", columns)


def write_header(
    folder: Path, name: str, samples: list[Sample], classes: list[str], kinds: dict[str, ModalityKind]
) -> dict[str, Any]:
    """Write store.json and return its content."""
    modalities = {}
    for modality, kind in kinds.items():
        array = np.load(folder / f"{modality}.npy", mmap_mode="r")
        modalities[modality] = {
            "kind": kind.kind,
            "shape": list(array.shape[1:]),
            "dtype": str(array.dtype),
            "sample_rate": getattr(kind, "sample_rate", None),
        }
    header = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "classes": classes,
        "modalities": modalities,
        "counts": {split: sum(s.split == split for s in samples) for split in SPLITS},
        "digest": digest_store(folder, list(kinds)),
    }
    write_json(folder / "store.json", header)
    return header


def _chunk_length(arrays: dict[str, Array]) -> int:
    """Return how many samples are decoded next; few at first, while nothing tells how large they are."""
    workers = os.cpu_count() or 1
    size = sum(array.nbytes // len(array) for array in arrays.values())
    return min(CHUNK, max(2 * workers, CHUNK_BYTES // size if size else 0))


def _decode_sample(sample: Sample, decoders: dict[str, Decoder]) -> dict[str, Array | BadSampleError]:
    parts: dict[str, Array | BadSampleError] = {}
    for name, decode in decoders.items():
        try:
            parts[name] = decode(sample.files[name], sample.span(name))
        except BadSampleError as error:
            parts[name] = error
    return parts


def _why_unfit(part: Array | BadSampleError, array: Array | None) -> str:
    """Return what is wrong with a decoded part, or nothing."""
    if isinstance(part, BadSampleError):
        return str(part)
    if array is not None and part.shape != array.shape[1:]:
        return f"has shape {list(part.shape)}, the samples before it have {list(array.shape[1:])}"
    return ""


def _shorten(path: Path, rows: int) -> None:
    """Rewrite the array at `path` with its first `rows` rows."""
    whole = np.load(path, mmap_mode="r")
    shorter = path.with_suffix(".short.npy")
    out = np.lib.format.open_memmap(shorter, mode="w+", dtype=whole.dtype, shape=(rows, *whole.shape[1:]))
    for start in range(0, rows, CHUNK):
        out[start : start + CHUNK] = whole[start : min(start + CHUNK, rows)]
    out.flush()
    shorter.replace(path)


def _nullable(values: list[str | None]) -> Any:
    import pyarrow

    return pyarrow.array(values, type=pyarrow.string())
