"""A subset as a folder of Parquet files that `datasets.load_dataset` reads."""

import json
from pathlib import Path
from typing import Any

from bss.config.modalities import AudioKind, ClipKind, FlowKind, FramesKind, ImageKind
from bss.data.read_parquet import HUGGING_FACE
from bss.data.rows import Sample
from bss.export.subset import Subset

FILE_BYTES = 500 << 20
"""Bytes of the samples of a file, at most, unless one has more: as `push_to_hub` cuts them."""
GROUP_BYTES, GROUP_ROWS = 32 << 20, 100
"""Maximum number of bytes and rows of a row group, unless one sample has more: what is in memory at once."""
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}

Row = dict[str, Any]


def write_parquet_folder(folder: Path, subset: Subset) -> None:
    """Write ``data/<split>-00000-of-00001.parquet``, ... and a README.md that names the files of each split.

    Labels are ``ClassLabel``; sounds, images and videos are ``Audio``, ``Image`` and ``Video``, and other files
    structs {bytes, path}. The same samples give the same bytes.
    """
    data = folder / "data"
    data.mkdir()
    for split, samples in subset.of_splits():
        writer = _Writer(data, split, _schema(subset))
        for sample in samples:
            writer.add(_row(subset, sample))
        writer.close()
    (folder / "README.md").write_text(_card(data), encoding="utf-8")


class _Writer:
    """The files of one split, written row group by row group."""

    def __init__(self, folder: Path, split: str, schema: Any) -> None:
        self.folder, self.name, self.schema = folder, SPLIT_NAMES[split], schema
        self._rows: list[Row] = []
        self._bytes = self._written = 0
        self._files: list[Path] = []
        self._open: Any = None

    def add(self, row: Row) -> None:
        """Add a row; write a row group if it is full."""
        size = sum(len(value["bytes"]) for value in row.values() if isinstance(value, dict))
        if self._rows and (self._bytes + size > GROUP_BYTES or len(self._rows) == GROUP_ROWS):
            self._flush()
        self._rows.append(row)
        self._bytes += size

    def close(self) -> None:
        """Write the last row group, and name the files as Hugging Face datasets do: each with their number."""
        self._flush()
        self._open.close()
        for number, file in enumerate(self._files):
            file.rename(self.folder / f"{self.name}-{number:05}-of-{len(self._files):05}.parquet")

    def _flush(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if self._open is None or self._written + self._bytes > FILE_BYTES:
            if self._open is not None:
                self._open.close()
            self._files.append(self.folder / f"{self.name}-{len(self._files)}.unfinished")
            self._open = pyarrow.parquet.ParquetWriter(self._files[-1], self.schema, use_dictionary=False)
            self._written = 0
        self._open.write_table(pyarrow.Table.from_pylist(self._rows, self.schema))
        self._written += self._bytes
        self._rows, self._bytes = [], 0


def _schema(subset: Subset) -> Any:
    """Return the schema, with the features of Hugging Face datasets in its metadata."""
    import pyarrow

    file = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    text = {"dtype": "string", "_type": "Value"}
    columns = {"id": pyarrow.string(), "label": pyarrow.int64()}
    features: dict[str, Any] = {"id": text, "label": {"names": list(subset.store.classes), "_type": "ClassLabel"}}
    if any(sample.group is not None for sample in subset.samples):
        columns["group"], features["group"] = pyarrow.string(), text
    for modality in subset.kinds:
        holds_text = subset.holds_text(modality)
        columns[modality] = pyarrow.string() if holds_text else file
        features[modality] = text if holds_text else _feature(subset, modality)
        for end in _spans(subset, modality):
            columns[f"{modality}_{end}"] = pyarrow.int64()
            features[f"{modality}_{end}"] = {"dtype": "int64", "_type": "Value"}
    return pyarrow.schema(columns, metadata={HUGGING_FACE: json.dumps({"info": {"features": features}})})


def _feature(subset: Subset, modality: str) -> dict[str, Any]:
    kind = subset.kinds[modality]
    suffixes = {Path(subset.name(sample, modality)).suffix.lower() for sample in subset.samples}
    if isinstance(kind, ImageKind):
        return {"_type": "Image"}
    if isinstance(kind, AudioKind):
        return {"_type": "Audio"}
    if isinstance(kind, FramesKind | ClipKind | FlowKind) and ".npy" not in suffixes:
        return {"_type": "Video"}
    return {"bytes": {"dtype": "binary", "_type": "Value"}, "path": {"dtype": "string", "_type": "Value"}}


def _spans(subset: Subset, modality: str) -> list[str]:
    spans = [sample.span(modality) for sample in subset.samples]
    return [end for end in ("start", "end") if any(getattr(span, end) is not None for span in spans)]


def _row(subset: Subset, sample: Sample) -> Row:
    row: Row = {"id": sample.id, "label": subset.store.classes.index(sample.label), "group": sample.group}
    for modality in subset.kinds:
        if subset.holds_text(modality):
            row[modality] = subset.text(sample, modality)
        else:
            row[modality] = {"bytes": subset.file(sample, modality), "path": subset.name(sample, modality)}
        span = sample.span(modality)
        row |= {f"{modality}_start": span.start, f"{modality}_end": span.end}
    return row


def _card(data: Path) -> str:
    """Return a README.md whose header names the files of each split."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for name in SPLIT_NAMES.values():
        if any(data.glob(f"{name}-*.parquet")):
            lines += [f"  - split: {name}", f"    path: data/{name}-*.parquet"]
    return "\n".join([*lines, "---", "", "Exported by `bss export data`; provenance.json says from what.", ""])
