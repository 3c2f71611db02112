"""Write a store: every file decoded once, in bounded memory."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bss.config.modalities import AudioKind, ModalityKind
from bss.config.schema import Links
from bss.data.array_file import ArrayWriter, array_files
from bss.data.decode import BadSampleError, Decoded, Decoder
from bss.data.decode.altered import AlteredValues, altered_to_tree, count_altered
from bss.data.decode.bad_sample import Array, named
from bss.data.decode.quiet import without_notes
from bss.data.embedded.temporary import make_decoders
from bss.data.manifest import Manifest
from bss.data.rows import Sample
from bss.data.store import SCHEMA_VERSION, SPLITS, digest_store
from bss.data.tables import write_table
from bss.data.text_lengths import lengths_column
from bss.files import write_json

CHUNK = 256
"""Maximum number of samples in memory at once."""
CHUNK_BYTES = 256 << 20
"""Size in bytes of the samples in memory at once, if fewer than `CHUNK` keep the processors busy."""


@dataclass(frozen=True)
class Skipped:
    """A sample that could not be decoded."""

    sample: Sample
    reason: str
    """Modality, file and problem of each bad file."""

    @classmethod
    def of(cls, sample: Sample, unfit: Mapping[str, str]) -> "Skipped":
        """Return the sample with the problem of its file for each modality in `unfit`."""
        reasons = [f"{name} {named(file)}: {unfit[name]}" for name, file in sample.files.items() if name in unfit]
        return cls(sample, "; ".join(reasons))


def decode_into(
    folder: Path,
    manifest: Manifest,
    rows: range,
    root: Path,
    kinds: dict[str, ModalityKind],
    on_progress: Callable[[int], None],
    links: Links = "inside",
) -> tuple[list[Skipped], AlteredValues]:
    """Decode the samples `rows` of `manifest` into the arrays of a store; bad samples get no row.

    `on_progress` gets the number of samples since the last call. Returns the bad samples, in order, and
    the alterations of the others; if all are bad, no array is written.
    """
    skipped: list[Skipped] = []
    altered: AlteredValues = {}
    with (
        make_decoders(kinds, root, links, manifest.contents) as decoders,
        without_notes(),
        ThreadPoolExecutor() as pool,
    ):
        arrays = ArraysWriter(folder, kinds, _first_shapes(manifest.samples[: rows.start], decoders))
        start = rows.start
        while start < rows.stop:
            chunk = manifest.samples[start : min(start + _chunk_length(arrays.largest), rows.stop)]
            start += len(chunk)
            decoded = pool.map(lambda sample: decode_sample(sample, decoders), chunk)
            for sample, parts in zip(chunk, decoded, strict=True):
                good = {name: part for name, part in parts.items() if not isinstance(part, BadSampleError)}
                unfit = {name: str(part) for name, part in parts.items() if isinstance(part, BadSampleError)}
                unfit |= {name: why for name, part in good.items() if (why := arrays.why_unfit(name, part.array))}
                if unfit:
                    skipped.append(Skipped.of(sample, unfit))
                else:
                    arrays.append({name: part.array for name, part in good.items()})
                    for name, part in good.items():
                        count_altered(altered, name, manifest.contents.recorded_name(sample.files[name]), part.altered)
            on_progress(len(chunk))
    arrays.close()
    return skipped, altered


class ArraysWriter:
    """The arrays of a store in `folder`, filled sample by sample.

    `shapes` are the sample shapes of previous shards, by modality; empty if there are none.
    """

    def __init__(
        self, folder: Path, kinds: dict[str, ModalityKind], shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    ) -> None:
        self.folder, self.kinds, self.shapes = folder, kinds, dict(shapes)
        self.largest: dict[str, int] = {}
        """Bytes of the largest sample so far, by modality."""
        self._arrays: dict[str, ArrayWriter] = {}
        self._ends: dict[str, list[int]] = {name: [] for name, kind in kinds.items() if isinstance(kind, AudioKind)}

    def why_unfit(self, name: str, part: Array) -> str:
        """Return why a sample of the modality `name` does not fit the previous ones, or nothing."""
        if name in self._ends or part.shape == self.shapes.get(name, part.shape):
            return ""
        return f"has shape {list(part.shape)}, previous samples have {list(self.shapes[name])}"

    def append(self, parts: dict[str, Array]) -> None:
        """Add one sample of every modality: sounds [samples], everything else with the same shape as before."""
        for name, part in parts.items():
            rows = part if name in self._ends else part[None]
            if name not in self._arrays:
                self.shapes.setdefault(name, part.shape)
                self._arrays[name] = ArrayWriter(self.folder / f"{name}.npy", rows.shape[1:], rows.dtype)
            self._arrays[name].append(rows)
            self.largest[name] = max(self.largest.get(name, 0), part.nbytes)
            if name in self._ends:
                self._ends[name].append(self._arrays[name].rows)

    def close(self) -> None:
        """Complete the files: those of each array and, for sounds, their ends in ``<modality>.ends.npy``."""
        for name, array in self._arrays.items():
            array.close()
            if name in self._ends:
                np.save(self.folder / f"{name}.ends.npy", np.array(self._ends[name], dtype=np.int64))


def write_samples(
    folder: Path,
    samples: list[Sample],
    classes: list[str],
    modalities: list[str],
    lengths: Mapping[str, list[int]] = MappingProxyType({}),
    ignored: list[str | None] | None = None,
) -> None:
    """Write samples.parquet; row i belongs to row i of every array.

    `lengths` are full text lengths in tokens, by modality; `ignored` is the modality of each sample that was decided to
    be ignored, or None, and None as a whole without decisions.
    """
    number = {name: index for index, name in enumerate(classes)}
    columns: dict[str, Any] = {
        "index": np.arange(len(samples)),
        "id": [s.id for s in samples],
        "label": np.array([number[s.label] for s in samples], dtype=np.int64),
        "label_name": [s.label for s in samples],
        "split": [s.split for s in samples],
        "group": _nullable([s.group for s in samples]),
    }
    columns |= {name: [s.files[name] for s in samples] for name in modalities}
    columns |= {lengths_column(name): np.array(counts, dtype=np.int64) for name, counts in lengths.items()}
    if ignored is not None:
        columns["ignored"] = _nullable(ignored)
    write_table(folder / "samples.parquet", columns)


def write_header(
    folder: Path,
    name: str,
    counts: Mapping[str, int],
    classes: list[str],
    kinds: dict[str, ModalityKind],
    altered: AlteredValues,
    vocabularies: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write store.json and return its content.

    `counts` are the samples of each split. Without samples, possible in a part of a store, there are no modalities.
    `altered` are the alterations by decoding, `vocabularies` the vocabulary size of each tokenizer by modality.
    """
    modalities = {}
    for modality, kind in (kinds if any(counts.values()) else {}).items():
        files = [np.load(path, mmap_mode="r") for path in array_files(folder / f"{modality}.npy")]
        array = files[0]
        modalities[modality] = {
            "kind": kind.kind,
            "shape": [kind.samples] if isinstance(kind, AudioKind) else list(array.shape[1:]),
            "dtype": str(array.dtype),
            "sample_rate": kind.sample_rate if isinstance(kind, AudioKind) else None,
            "short": kind.short if isinstance(kind, AudioKind) else None,
            "largest": max(int(file.max()) for file in files) if kind.kind == "text" else None,
            "vocabulary": vocabularies.get(modality),
        }
    header = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "classes": classes,
        "modalities": modalities,
        "counts": {split: counts.get(split, 0) for split in SPLITS},
        "altered": altered_to_tree(altered),
        "digest": digest_store(folder, modalities),
    }
    write_json(folder / "store.json", header)
    return header


def _chunk_length(largest: dict[str, int]) -> int:
    """Return the size of the next decode chunk; small at first, while sample sizes are unknown."""
    workers = os.cpu_count() or 1
    size = sum(largest.values())
    return min(CHUNK, max(2 * workers, CHUNK_BYTES // size if size else 0))


def _first_shapes(samples: list[Sample], decoders: dict[str, Decoder]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the first decodable sample in `samples`: all others must have the same."""
    for sample in samples:
        parts = decode_sample(sample, decoders)
        good = {name: part.array.shape for name, part in parts.items() if not isinstance(part, BadSampleError)}
        if len(good) == len(parts):
            return good
    return {}


def decode_sample(sample: Sample, decoders: Mapping[str, Decoder]) -> dict[str, Decoded | BadSampleError]:
    """Return each modality of the sample, decoded or with the problem of its file."""
    parts: dict[str, Decoded | BadSampleError] = {}
    for name, file in sample.files.items():
        try:
            parts[name] = decoders[name](file, sample.span(name))
        except BadSampleError as error:
            parts[name] = error
    return parts


def _nullable(values: list[str | None]) -> Any:
    import pyarrow

    return pyarrow.array(values, type=pyarrow.string())
