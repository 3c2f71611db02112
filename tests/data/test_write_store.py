import numpy as np

from bss.data import write_store
from bss.data.write_store import CHUNK, CHUNK_BYTES
from bss.files import digest_file
from bss.stages.prepare import prepare


def test_few_samples_are_in_memory_where_they_are_large(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert write_store._chunk_length({}) == 8
    assert write_store._chunk_length({"a": np.zeros((10, 100), np.uint8)}) == CHUNK
    large = np.broadcast_to(np.uint8(0), (10, 64, 3, 224, 224))  # clips of 9.6 MB
    assert write_store._chunk_length({"a": large}) == CHUNK_BYTES // (64 * 3 * 224 * 224) == 27
    assert write_store._chunk_length({"a": large, "b": np.broadcast_to(np.uint8(0), (10, 100 << 20))}) == 8


def test_the_store_is_the_same_whatever_is_in_memory_at_a_time(
    small_store, small_root, tree, make_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(write_store, "_chunk_length", lambda arrays: 7)
    prepare(make_config(tree), small_root, tmp_path / "store")
    for name in ("audio.npy", "image.npy", "vector.npy", "samples.parquet"):
        assert digest_file(tmp_path / "store" / name) == digest_file(small_store / name)
