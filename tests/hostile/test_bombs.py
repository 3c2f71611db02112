"""A few bytes that would unpack to gigabytes: refused within little memory, each in one process that is measured."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from PIL import Image
from tally import tried

pytestmark = pytest.mark.process

MORE_MIB = 1200
"""Memory that the process which decodes them all may take besides its libraries."""

DECODE = """
import json, resource, sys
from pathlib import Path
import av, numpy, PIL.Image, pyarrow.parquet, soundfile, soxr
from bss.config.modalities import AudioKind, FeaturesKind, FlowKind, FramesKind, ImageKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.manifest import read_manifest
from bss.errors import BssError

KINDS = {
    "image": ImageKind("image", height=4, width=5),
    "audio": AudioKind("audio", sample_rate=8000, seconds=0.1, long="centre"),
    "frames": FramesKind("frames", count=2, height=4, width=5),
    "features": FeaturesKind("features"),
    "flow": FlowKind("flow", frames=2, height=4, width=5),
}
# Far more address space than memory is allowed, and far less than the bombs would take.
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
found = {}
root = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(root.iterdir()):
    what, _, name = path.name.partition("-")
    try:
        if what == "manifest":
            read_manifest(root, path.name, {})
        else:
            make_decoder(KINDS[what], root, "m")(path.name, WHOLE)
        outcome = "read"
    except (BadSampleError, BssError) as error:
        outcome = f"refused: {str(error)[:100]}"
    found[path.name] = outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps(found))
"""


def _image(format, size, **options):
    buffer = io.BytesIO()
    Image.new("1" if format in ("PNG", "TIFF") else "L", size).save(buffer, format, **options)
    return buffer.getvalue()


def _sparse_npy(path: Path, shape: str, size: int) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        file.truncate(128 + size)


def write_bombs(root: Path) -> None:
    (root / "image-12000.png").write_bytes(_image("PNG", (12_000, 12_000)))
    (root / "image-12000.tif").write_bytes(_image("TIFF", (12_000, 12_000), compression="tiff_deflate"))
    (root / "image-65000.gif").write_bytes(b"GIF89a" + struct.pack("<HHBBB", 65_000, 65_000, 0x80, 0, 0) + b"\0" * 20)
    text = b"zTXtComment\0\0" + zlib.compress(b"a" * (100 << 20), 9)
    whole = _image("PNG", (8, 8))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (root / "image-text.png").write_bytes(whole[:33] + chunk + whole[33:])
    _sparse_npy(root / "features-terabyte.npy", "(274877906944,)", 1 << 40)
    _sparse_npy(root / "flow-terabyte.npy", "(2, 2, 262144, 262144)", 1 << 40)
    _sparse_npy(root / "features-declared.npy", "(274877906944,)", 64)
    with soundfile.SoundFile(root / "audio-hours.flac", "w", 8000, 2) as file:
        for _ in range(12):
            file.write(np.zeros((8000 * 60, 2)))  # 12 minutes of silence: 46 MB as float32 in a few KB
    hour = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
    (root / "audio-declared.wav").write_bytes(hour + b"data\xf0\xff\xff\xff" + b"\0" * 64)
    # A value of a megabyte, once in the dictionary and then thousands of times by its number.
    value = pyarrow.array(["x" * (1 << 20)])
    index = pyarrow.array(np.zeros(4000, dtype=np.int32))
    column = pyarrow.DictionaryArray.from_arrays(index, value)
    table = pyarrow.table({"id": column, "label": column, "split": column})
    pyarrow.parquet.write_table(table, root / "manifest-values.parquet", compression="zstd")
    rows = pyarrow.table({"id": pyarrow.array(np.zeros(12_000_000, dtype=np.int8))})
    pyarrow.parquet.write_table(rows, root / "manifest-rows.parquet", compression="zstd")


def test_bombs_are_refused_or_decoded_within_little_memory(tmp_path):
    write_bombs(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["audio-hours.flac"][0] == "read"
    for name, (outcome, more) in found.items():
        assert more < MORE_MIB, (name, found)
        if name not in ("audio-hours.flac", "image-text.png", "audio-declared.wav"):
            assert outcome.startswith("refused"), (name, outcome)
        tried("bombs", outcome.partition(":")[0])
