"""The store: every sample decoded once, one memory-mapped array per modality."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.features import open_array
from bss.data.tables import Table, open_table
from bss.errors import BssError
from bss.files import digest_file, digest_json, read_json

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Modality:
    """What the array of one modality holds."""

    kind: str
    """audio, image, frames, clip, flow, text or features."""
    shape: tuple[int, ...]
    """Of one sample."""
    dtype: str
    """float32 (audio [samples] in [-1, 1], features), uint8 (image [channels, height, width]; frames and clip
    [frames, channels, height, width]), float16 (flow [frames, 2, height, width]) or int32 (text [tokens], 0 is
    padding)."""
    sample_rate: int | None
    """Hz; audio only."""


class Store:
    """A read-only view of outputs/store; open it with `Store.open`."""

    def __init__(self, path: Path, header: dict[str, Any], samples: Table, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.path = path
        self.name: str = header["name"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.digest: str = header["digest"]
        self.modalities = {
            name: Modality(m["kind"], tuple(m["shape"]), m["dtype"], m["sample_rate"])
            for name, m in header["modalities"].items()
        }
        self.ids: npt.NDArray[np.object_] = np.array(samples.texts("id"), dtype=object)
        self.labels = samples.whole_numbers("label")
        self.splits: npt.NDArray[np.str_] = np.array(samples.texts("split"), dtype=str)
        self.groups = samples.optional_texts("group")
        self._arrays = arrays
        if len(set(self.ids.tolist())) < len(self.ids):
            raise samples.damaged("an id is there twice")
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise samples.damaged(f"a label is none of the {len(self.classes)} classes")
        if set(self.splits.tolist()) - set(SPLITS):
            raise samples.damaged(f"a split is none of {', '.join(SPLITS)}")

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the store at `path`.

        Raises `BssError` where it is missing, of another schema version, or where its arrays are not what
        store.json says.
        """
        header = _read_header(path / "store.json")
        samples = open_table(path / "samples.parquet", "prepare", ("id", "label", "split", "group"))
        arrays = {}
        for name, m in header["modalities"].items():
            file = path / f"{name}.npy"
            try:
                array = open_array(file)
            except BadSampleError as error:
                raise BssError(f"{file}: not readable ({error}). Run `bss prepare` again.") from error
            expected = (len(samples), *m["shape"])
            if array.shape != expected or str(array.dtype) != m["dtype"]:
                raise BssError(
                    f"{file}: holds {array.dtype} {array.shape}, but store.json says {m['dtype']} {expected}. "
                    "Run `bss prepare` again."
                )
            arrays[name] = array
        return cls(path, header, samples, arrays)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row indices of `split` (train, val or test), int64, in the store's order."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def read(self, modality: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return a copy of the samples at `rows` [k], [k, *shape]."""
        return np.asarray(self._arrays[modality][rows])

    def truth(self) -> dict[str, str] | None:
        """Return what is known of each pair, id to kind (clean, contradicting, ...); None where nothing is.

        For evaluation only: nothing that trains may read it.
        """
        path = self.path / "truth.parquet"
        if not path.exists():
            return None
        table = open_table(path, "prepare", ("id", "kind"))
        truth = dict(zip(table.texts("id"), table.texts("kind"), strict=True))
        if set(truth) != set(self.ids.tolist()):
            raise table.damaged("it tells of other samples than the store has")
        return truth


def _read_header(path: Path) -> dict[str, Any]:
    """Return the content of store.json; raise `BssError` where it is none that `bss prepare` writes."""
    header = read_json(path, "prepare")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise BssError(
            f"{path}: schema version {header.get('schema_version')}, expected {SCHEMA_VERSION}. Run `bss prepare` again."
        )
    lacking = [key for key in ("name", "classes", "modalities", "digest") if key not in header]
    if lacking:
        raise BssError(f"{path}: lacks {', '.join(lacking)}. Run `bss prepare` again.")
    classes, modalities = header["classes"], header["modalities"]
    sound = isinstance(header["name"], str) and isinstance(header["digest"], str)
    sound &= isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    # A name is the name of a file in this folder, and nothing that leads out of it.
    sound &= isinstance(modalities, dict) and all(n.isidentifier() and _is_modality(m) for n, m in modalities.items())
    if not sound:
        raise BssError(f"{path}: damaged (not what `bss prepare` writes). Run `bss prepare` again.")
    return header


def _is_modality(entry: Any) -> bool:
    if not isinstance(entry, dict) or {"kind", "shape", "dtype", "sample_rate"} - set(entry):
        return False
    shape = entry["shape"]
    return (
        isinstance(entry["kind"], str)
        and isinstance(entry["dtype"], str)
        and isinstance(entry["sample_rate"], int | None)
        and isinstance(shape, list)
        and all(isinstance(size, int) and size > 0 for size in shape)
    )


def digest_store(folder: Path, modalities: list[str]) -> str:
    """Return the sha256 over samples.parquet and the arrays: what a store holds, whatever made it."""
    names = ["samples.parquet", *(f"{name}.npy" for name in sorted(modalities))]
    return digest_json({name: digest_file(folder / name) for name in names})
