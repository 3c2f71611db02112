"""Small samples whose files lie inside Parquet tables and tar shards, and parameters that prepare them."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
from PIL import Image

from bss.config import config_from_tree
from bss.data.store import Store
from bss.stages.prepare import prepare

MODALITIES = {
    "audio": {"kind": "audio", "sample_rate": 4000, "seconds": 0.02, "stored": "int16"},
    "image": {"kind": "image", "height": 4, "width": 4, "channels": 1},
}
SPLITS = [*["train"] * 8, *["val"] * 4, *["test"] * 4]
FILE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def picture(i: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 10 * i, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def sound(i: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(80, 100 * i, np.int16), 4000, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def table(numbers=range(16), **columns) -> dict:
    """Return the columns of samples `numbers` as a manifest with files inside; `columns` replace some."""
    return {
        "id": [f"s{i:02}" for i in numbers],
        "label": ["cat" if i % 2 else "dog" for i in numbers],
        "split": [SPLITS[i] for i in numbers],
        "audio": pa.array([{"bytes": sound(i), "path": f"{i}.wav"} for i in numbers], FILE),
        "image": pa.array([{"bytes": picture(i), "path": None} for i in numbers], FILE),
        **columns,
    }


def write_table(path: Path, columns: dict) -> None:
    pa.parquet.write_table(pa.table(columns), path, row_group_size=3)


def members(numbers=range(16)) -> list[tuple[str, bytes]]:
    """Return name and bytes of the members of the samples `numbers` in a shard."""
    found = []
    for i in numbers:
        label, split = b"cat" if i % 2 else b"dog", SPLITS[i].encode()
        parts = {"cls": label, "json": b'{"split": "%s"}' % split, "png": picture(i), "wav": sound(i)}
        found += [(f"s{i:02}.{extension}", data) for extension, data in parts.items()]
    return found


def write_files(folder: Path) -> None:
    """Write the samples as plain files with two CSV manifests, train and the rest."""
    for i in range(16):
        (folder / f"{i}.wav").write_bytes(sound(i))
        (folder / f"{i}.png").write_bytes(picture(i))
    rows = [f"s{i:02},{'cat' if i % 2 else 'dog'},{SPLITS[i]},{i}.wav,{i}.png\n" for i in range(16)]
    for name, part in (("a.csv", rows[:8]), ("b.csv", rows[8:])):
        (folder / name).write_text("id,label,split,audio,image\n" + "".join(part))


def write_shard(path: Path, found: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in found:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def make_parameters(root: Path | str, manifest: str, modalities: dict = MODALITIES, **settings):
    """Return the config that prepares `modalities` from `manifest` in `root`; `settings` are of section prepare."""
    cnn = {"kind": "cnn", "channels": [4], "features": 8}
    sounds = {"audio": cnn | {"spectrogram": {"n_fft": 16, "hop": 8, "bands": 4}}}
    return config_from_tree(
        {
            "seeds": [0],
            "prepare": {"root": str(root), "manifest": manifest, "modalities": modalities, **settings},
            "network": {"encoders": {name: sounds.get(name, cnn) for name in modalities}},
            "schedule": {"schedulers": {"uniform": {"kind": "uniform"}}},
            "train": {"epochs": 1, "optimiser": {"kind": "sgd", "learning_rate": 0.1}},
            "compare": {"baseline": "uniform", "control": None},
            "tracking": {"enabled": False},
        },
        "params.yaml",
    )


def prepared(root: Path, manifest: str, store: Path, modalities: dict = MODALITIES, **settings) -> Store:
    """Prepare and open the store."""
    prepare(make_parameters(root, manifest, modalities, **settings), root, store)
    return Store.open(store)
