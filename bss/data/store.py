"""The store: every sample decoded once, one array per modality."""

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bss.data.array_file import ArrayReader, array_files
from bss.data.decode.altered import AlteredValues, altered_from_tree
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.features import open_array
from bss.data.decode.learned_tokenizer import FILES, tokenizer_folder
from bss.data.sounds import Sounds
from bss.data.tables import Table, open_table, table_columns
from bss.errors import BssError
from bss.files import digest_file, digest_json, read_json

SCHEMA_VERSION = 2
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Modality:
    """The array of one modality."""

    kind: str
    """audio, image, frames, clip, flow, text or features."""
    shape: tuple[int, ...]
    """Shape of one sample; of audio, of the network's input, [samples]: stored sounds have at most as many."""
    dtype: str
    """int16 or float32 (audio; float32 in [-1, 1]), float32 (features), uint8 (image [channels, height, width];
    frames and clip [frames, channels, height, width]), float16 (flow [frames, 2, height, width]) or int32 (text
    [tokens], 0 is padding)."""
    sample_rate: int | None = None
    """Hz; audio only."""
    short: Literal["pad", "tile"] | None = None
    """How a sound shorter than `shape` is filled, with silence or by repetition; audio only."""
    largest: int | None = None
    """The largest stored token id; text only."""
    vocabulary: int | None = None
    """Vocabulary size of the tokenizer; text only."""


class Store:
    """A read-only view of outputs/store; open it with `Store.open`."""

    def __init__(self, path: Path, header: dict[str, Any], samples: Table, arrays: dict[str, ArrayReader]) -> None:
        self.path = path
        self.name: str = header["name"]
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.digest: str = header["digest"]
        self.altered: AlteredValues = altered_from_tree(header["altered"])
        self.modalities = {
            name: Modality(**{**m, "shape": tuple(m["shape"])}) for name, m in header["modalities"].items()
        }
        self.labels = samples.whole_numbers("label")
        self._samples, self._arrays = samples, arrays
        self._rows: dict[str, npt.NDArray[np.int64]] = {}
        samples.text_column("id")
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise samples.damaged(f"a label is not one of the {len(self.classes)} classes")
        if set(samples.text_column("split").unique().to_pylist()) - set(SPLITS):
            raise samples.damaged(f"a split is not one of {', '.join(SPLITS)}")
        self._ends = {
            name: _check_ends(path / f"{name}.ends.npy", len(self), m.shape[0], arrays[name].shape[0])
            for name, m in self.modalities.items()
            if m.kind == "audio"
        }

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the store at `path`.

        Raises `BssError` if it is missing, has another schema version, or its arrays do not match
        store.json.
        """
        header = _read_header(path / "store.json")
        samples = open_table(path / "samples.parquet", "prepare", ("id", "label", "split", "group"))
        arrays = {}
        for name, m in header["modalities"].items():
            file = path / f"{name}.npy"
            try:
                array = ArrayReader(file)
            except BadSampleError as error:
                raise BssError(f"{file}: not readable ({error}). Run `bss prepare` again.") from error
            expected = (len(samples), *m["shape"])
            # Sounds are concatenated; another file has the number of samples.
            fits = len(array.shape) == 1 if m["kind"] == "audio" else array.shape == expected
            if not fits or str(array.dtype) != m["dtype"]:
                right = f"{m['dtype']} {'[samples]' if m['kind'] == 'audio' else expected}"
                raise BssError(
                    f"{file}: holds {array.dtype} {array.shape}, but store.json says {right}. Run `bss prepare` again."
                )
            arrays[name] = array
        return cls(path, header, samples, arrays)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the row indices of `split` (train, val or test), int64, in the store's order."""
        import pyarrow.compute

        if split not in self._rows:
            inside = pyarrow.compute.equal(self._samples.text_column("split"), split)
            self._rows[split] = np.flatnonzero(inside.to_numpy()).astype(np.int64)
            self._rows[split].flags.writeable = False
        return self._rows[split]

    def id_column(self, rows: npt.NDArray[np.int64]) -> Any:
        """Return the ids at `rows` [k] as a ``pyarrow.ChunkedArray``, without creating Python strings."""
        import pyarrow

        ids = self._samples.text_column("id").cast(pyarrow.large_string())  # `take` fails beyond 2 GiB for other types
        return ids.take(pyarrow.array(rows)).cast(pyarrow.string())

    @cached_property
    def ids(self) -> npt.NDArray[np.object_]:
        """The id of every sample as text; raises `BssError` for a duplicate."""
        ids = self._samples.texts("id")
        if len(set(ids)) < len(ids):
            raise self._samples.damaged("duplicate id")
        return np.array(ids, dtype=object)

    @cached_property
    def splits(self) -> npt.NDArray[np.str_]:
        """The split of every sample as text."""
        return np.array(self._samples.texts("split"), dtype=str)

    @cached_property
    def groups(self) -> list[str | None]:
        """The group of every sample, None for samples without one."""
        return self._samples.optional_texts("group")

    def ignored(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
        """Return which modalities of the samples at `rows` [k] are to be ignored, bool [k, modalities]; None for none.

        The modalities are in the order of `modalities`.
        """
        if self._ignored is None:
            return None
        found = np.array(self._ignored, dtype=object)[rows]
        mask = np.stack([found == name for name in self.modalities], axis=1)
        return mask if mask.any() else None

    @cached_property
    def _ignored(self) -> list[str | None] | None:
        path = self.path / "samples.parquet"
        if "ignored" not in table_columns(path, "prepare"):
            return None
        table = open_table(path, "prepare", ("ignored",))
        found = table.optional_texts("ignored")
        if set(found) - {None, *self.modalities}:
            raise table.damaged("ignored is not a modality")
        return found

    def lengths(self, modality: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the length in samples of each sound of `modality` at `rows` [k], int64 [k]."""
        ends = self._ends[modality]
        return ends[rows] - np.where(rows > 0, ends[rows - 1], 0)

    def bytes_of(self, modality: str, rows: npt.NDArray[np.int64]) -> int:
        """Return the memory in bytes that `read` needs for the samples at `rows`."""
        count = int(self.lengths(modality, rows).sum()) if modality in self._ends else len(rows)
        return count * self._arrays[modality].row_bytes

    def read(
        self, modality: str, rows: npt.NDArray[np.int64], memory: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[Any] | Sounds:
        """Return a copy of the stored samples at `rows` [k]: [k, *shape], for audio `Sounds`.

        If given, `memory` holds the copy in its first bytes; it needs at least `bytes_of` bytes. Thread-safe.
        """
        array = self._arrays[modality]
        if memory is None:
            memory = np.empty(self.bytes_of(modality, rows), dtype=np.uint8)
        if modality in self._ends:
            lengths = self.lengths(modality, rows)
            firsts = self._ends[modality][rows] - lengths
        else:
            lengths, firsts = np.ones(len(rows), dtype=np.int64), rows
        view, done = memory.data, 0
        # Contiguous samples are read in one call.
        breaks = np.flatnonzero(firsts[1:] != firsts[:-1] + lengths[:-1]) + 1
        for start, end in pairwise([0, *breaks.tolist(), len(rows)]):
            if start == end:  # no samples
                break
            count = int(lengths[start:end].sum())
            array.read(int(firsts[start]), count, view[done : done + count * array.row_bytes])
            done += count * array.row_bytes
        values = memory[:done].view(array.dtype)
        return Sounds(values, lengths) if modality in self._ends else values.reshape(len(rows), *array.shape[1:])

    def sample(self, modality: str, row: int) -> npt.NDArray[Any]:
        """Return a copy of one stored sample, [*shape]; audio [samples] has its own length."""
        found = self.read(modality, np.array([row]))
        return np.asarray(found.values if isinstance(found, Sounds) else found[0])

    def truth(self) -> dict[str, str] | None:
        """Return the ground truth: id to kind of pair (clean, contradicting, ...); None if there is none.

        For evaluation only: training must not read it.
        """
        path = self.path / "truth.parquet"
        if not path.exists():
            return None
        table = open_table(path, "prepare", ("id", "kind"))
        truth = dict(zip(table.texts("id"), table.texts("kind"), strict=True))
        if set(truth) != set(self.ids.tolist()):
            raise table.damaged("its samples are not those of the store")
        return truth


def _read_header(path: Path) -> dict[str, Any]:
    """Return the content of store.json; raise `BssError` if `bss prepare` did not write it like this."""
    header = read_json(path, "prepare")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise BssError(
            f"{path}: schema version {header.get('schema_version')}, expected {SCHEMA_VERSION}. "
            "Run `bss prepare` again."
        )
    missing = [key for key in ("name", "classes", "modalities", "digest", "altered") if key not in header]
    if missing:
        raise BssError(f"{path}: missing {', '.join(missing)}. Run `bss prepare` again.")
    classes, modalities = header["classes"], header["modalities"]
    sound = isinstance(header["name"], str) and isinstance(header["digest"], str)
    sound &= isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    # Names are files in this folder and must not lead out of it.
    sound &= isinstance(modalities, dict) and all(n.isidentifier() and _is_modality(m) for n, m in modalities.items())
    try:
        altered_from_tree(header["altered"])
    except ValueError as error:
        raise BssError(f"{path}: damaged (altered: {error}). Run `bss prepare` again.") from error
    if not sound:
        raise BssError(f"{path}: damaged (not what `bss prepare` writes). Run `bss prepare` again.")
    return header


def _is_modality(entry: Any) -> bool:
    needed = {"kind", "shape", "dtype"}
    if not isinstance(entry, dict) or not needed <= set(entry) <= {f.name for f in fields(Modality)}:
        return False
    shape = entry["shape"]
    sound = isinstance(entry["kind"], str) and isinstance(entry["dtype"], str) and isinstance(shape, list)
    sound &= all(isinstance(entry.get(name), int | None) for name in ("sample_rate", "largest", "vocabulary"))
    sound &= entry.get("short") in (None, "pad", "tile")
    if entry["kind"] == "audio":
        sound &= len(shape) == 1 and bool(entry.get("sample_rate")) and entry.get("short") is not None
    return sound and all(isinstance(size, int) and size > 0 for size in shape)


def digest_store(folder: Path, modalities: dict[str, dict[str, Any]]) -> str:
    """Return the sha256 over samples.parquet, arrays, learned tokenizers and their description in store.json."""
    names = ["samples.parquet"]
    for name in sorted(modalities):
        names += [path.name for path in array_files(folder / f"{name}.npy")]
        names += [f"{name}.ends.npy", *(f"{tokenizer_folder(name)}/{file}" for file in FILES)]
    files = {name: digest_file(folder / name) for name in names if (folder / name).exists()}
    return digest_json({"files": files, "modalities": modalities})


def _check_ends(path: Path, count: int, longest: int, total: int) -> npt.NDArray[np.int64]:
    """Return the ends of `count` sounds, each at most `longest`, in an array of `total` samples, int64 [count]."""
    try:
        ends: npt.NDArray[np.int64] = np.array(open_array(path))
    except BadSampleError as error:
        raise BssError(f"{path}: not readable ({error}). Run `bss prepare` again.") from error
    whole = ends.shape == (count,) and ends.dtype == np.int64
    lengths = np.diff(ends, prepend=0) if whole else np.zeros(1)
    if not whole or lengths.min(initial=1) < 1 or lengths.max(initial=1) > longest or (count and ends[-1] != total):
        raise BssError(
            f"{path}: does not fit {count} sounds of 1 to {longest} samples, {total} in total. Run `bss prepare` again."
        )
    return ends
