import numpy as np
import pytest

from bss.config.modalities import AudioKind, FeaturesKind
from bss.data import write_store
from bss.data.array_file import ArrayReader
from bss.data.rows import Sample
from bss.data.sounds import Sounds
from bss.data.store import Store
from bss.data.write_store import CHUNK, CHUNK_BYTES, ArraysWriter, write_header, write_samples
from bss.errors import BssError
from bss.files import digest_file
from bss.stages.prepare import prepare


def test_few_samples_are_in_memory_where_they_are_large(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert write_store._chunk_length({}) == 8
    assert write_store._chunk_length({"a": 100}) == CHUNK
    large = 64 * 3 * 224 * 224  # clips of 9.6 MB
    assert write_store._chunk_length({"a": large}) == CHUNK_BYTES // large == 27
    assert write_store._chunk_length({"a": large, "b": 100 << 20}) == 8


def test_the_store_is_the_same_whatever_is_in_memory_at_a_time(
    small_store, small_root, tree, make_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(write_store, "_chunk_length", lambda largest: 7)
    prepare(make_config(tree), small_root, tmp_path / "store")
    for name in ("audio.npy", "audio.ends.npy", "image.npy", "vector.npy", "samples.parquet"):
        assert digest_file(tmp_path / "store" / name) == digest_file(small_store / name)


LENGTHS = (5, 1, 8, 3, 3, 8, 2)


def write(folder, stored, short="pad"):
    """Write a store of sounds of different length and of features; return both as lists."""
    random = np.random.default_rng(0)
    sounds = [random.integers(-99, 99, length).astype(stored) for length in LENGTHS]
    vectors = [random.standard_normal((2, 3)).astype(np.float32) for _ in LENGTHS]
    kinds = {
        "sound": AudioKind("audio", sample_rate=8000, seconds=0.001, short=short, stored=stored),
        "x": FeaturesKind("features"),
    }
    arrays = ArraysWriter(folder, kinds)
    for sound, vector in zip(sounds, vectors, strict=True):
        arrays.append({"sound": sound, "x": vector})
    arrays.close()
    samples = [Sample(i, str(i), "a", "train", None, {"sound": "", "x": ""}) for i in range(len(LENGTHS))]
    write_samples(folder, samples, ["a"], list(kinds))
    write_header(folder, "small", {"train": len(samples)}, ["a"], kinds, {})
    return sounds, vectors


def test_how_sounds_are_filled_changes_the_digest_though_not_the_arrays(tmp_path):
    for short in ("pad", "tile"):
        (tmp_path / short).mkdir()
        write(tmp_path / short, "int16", short)
    assert digest_file(tmp_path / "pad" / "sound.npy") == digest_file(tmp_path / "tile" / "sound.npy")
    assert Store.open(tmp_path / "pad").digest != Store.open(tmp_path / "tile").digest


@pytest.mark.parametrize("stored", ["int16", "float32"])
def test_sounds_are_stored_without_filling_and_read_in_any_order(tmp_path, stored):
    sounds, vectors = write(tmp_path, stored)
    store = Store.open(tmp_path)
    assert store.modalities["sound"].shape == (8,)
    assert (tmp_path / "sound.npy").stat().st_size == 128 + sum(LENGTHS) * np.dtype(stored).itemsize
    np.testing.assert_array_equal(np.load(tmp_path / "sound.npy"), np.concatenate(sounds))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), vectors)
    memory = np.zeros(1000, dtype=np.uint8)
    for chosen in ([0], [6, 0, 3, 3, 4, 5, 1], [2, 3, 4], [], list(range(7))):
        rows = np.array(chosen, dtype=np.int64)
        for room in (None, memory):
            found = store.read("sound", rows, room)
            assert isinstance(found, Sounds)
            assert found.values.dtype == stored
            assert found.lengths.tolist() == [LENGTHS[row] for row in rows]
            assert found.values.tolist() == [x for row in rows for x in sounds[row]]
            assert store.bytes_of("sound", rows) == found.values.nbytes
            read = store.read("x", rows, room)
            np.testing.assert_array_equal(read, np.array([vectors[row] for row in rows]).reshape(-1, 2, 3))
            assert store.bytes_of("x", rows) == read.nbytes
    np.testing.assert_array_equal(store.sample("sound", 2), sounds[2])
    np.testing.assert_array_equal(store.sample("x", 2), vectors[2])


@pytest.mark.parametrize(
    "ends", [[5, 6, 14, 17, 20, 28, 31], [5, 5, 14, 17, 20, 28, 30], [9, 10, 14, 17, 20, 28, 30], [30]]
)
def test_ends_that_are_not_those_of_the_sounds_are_reported(tmp_path, ends):
    write(tmp_path, "int16")
    np.save(tmp_path / "sound.ends.npy", np.array(ends))
    with pytest.raises(BssError, match=r"sound\.ends\.npy: does not fit 7 sounds of 1 to 8 samples, 30 in total"):
        Store.open(tmp_path)
    (tmp_path / "sound.ends.npy").unlink()
    with pytest.raises(BssError, match=r"sound\.ends\.npy: not readable"):
        Store.open(tmp_path)


def test_a_file_that_is_cut_while_it_is_open_is_reported(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10))
    reader = ArrayReader(tmp_path / "a.npy")
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(128 + 8 * 6)
    memory = bytearray(8 * 4)
    reader.read(2, 4, memoryview(memory))
    assert np.frombuffer(memory, dtype=np.int64).tolist() == [2, 3, 4, 5]
    with pytest.raises(BssError, match="ends before its last row"):
        reader.read(4, 4, memoryview(memory))
