"""The store: every sample decoded once, one memory-mapped array per modality."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.tables import read_table
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

    def __init__(self, path: Path, header: dict[str, Any], samples: Any, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.path = path
        self.name: str = header["name"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.digest: str = header["digest"]
        self.modalities = {
            name: Modality(m["kind"], tuple(m["shape"]), m["dtype"], m["sample_rate"])
            for name, m in header["modalities"].items()
        }
        self.labels: npt.NDArray[np.int64] = samples["label"].to_numpy()
        self._samples, self._arrays = samples, arrays
        self._rows: dict[str, npt.NDArray[np.int64]] = {}

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the store at `path`.

        Raises `BssError` where it is missing, of another schema version, or where its arrays are not what
        store.json says.
        """
        header = read_json(path / "store.json", "prepare")
        version = header.get("schema_version") if isinstance(header, dict) else None
        if version != SCHEMA_VERSION:
            raise BssError(
                f"{path / 'store.json'}: schema version {version}, expected {SCHEMA_VERSION}. Run `bss prepare` again."
            )
        lacking = [key for key in ("name", "classes", "modalities", "digest") if key not in header]
        if lacking:
            raise BssError(f"{path / 'store.json'}: lacks {', '.join(lacking)}. Run `bss prepare` again.")
        samples = read_table(path / "samples.parquet", "prepare", ("id", "label", "split", "group"))
        arrays = {}
        for name, m in header["modalities"].items():
            file = path / f"{name}.npy"
            try:
                array = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise BssError(f"{file}: not readable ({error}). Run `bss prepare` again.") from error
            expected = (len(samples), *m["shape"])
            if array.shape != expected or array.dtype != m["dtype"]:
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
        import pyarrow.compute

        if split not in self._rows:
            inside = pyarrow.compute.equal(self._samples["split"], split)
            self._rows[split] = np.flatnonzero(inside.to_numpy()).astype(np.int64)
            self._rows[split].flags.writeable = False
        return self._rows[split]

    def id_column(self, rows: npt.NDArray[np.int64]) -> Any:
        """Return the ids at `rows` [k] as a column of a table (``pyarrow.ChunkedArray``), with no text made of them."""
        import pyarrow

        ids = self._samples["id"].cast(pyarrow.large_string())  # gathering more than 2 GiB of others fails
        return ids.take(pyarrow.array(rows)).cast(pyarrow.string())

    @cached_property
    def ids(self) -> npt.NDArray[np.object_]:
        """The id of every sample as a text."""
        return np.array(self._samples["id"].to_pylist(), dtype=object)

    @cached_property
    def splits(self) -> npt.NDArray[np.str_]:
        """The split of every sample as a text."""
        return np.array(self._samples["split"].to_pylist(), dtype=str)

    @cached_property
    def groups(self) -> list[str | None]:
        """The group of every sample, None where it has none."""
        groups: list[str | None] = self._samples["group"].to_pylist()
        return groups

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
        table = read_table(path, "prepare", ("id", "kind"))
        return dict(zip(table["id"].to_pylist(), table["kind"].to_pylist(), strict=True))


def digest_store(folder: Path, modalities: list[str]) -> str:
    """Return the sha256 over samples.parquet and the arrays: what a store holds, whatever made it."""
    names = ["samples.parquet", *(f"{name}.npy" for name in sorted(modalities))]
    return digest_json({name: digest_file(folder / name) for name in names})
