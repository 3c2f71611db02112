"""Arrays whose rows are in several files."""

import numpy as np
import pytest

from bss.data import array_file
from bss.data.array_file import ArrayReader, ArrayWriter, array_files
from bss.data.decode import BadSampleError


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(array_file, "FILE_BYTES", 100)


def write(path, rows, at_a_time):
    writer = ArrayWriter(path, rows.shape[1:], rows.dtype)
    for start in range(0, len(rows), at_a_time):
        writer.append(rows[start : start + at_a_time])
    writer.close()


ROWS = np.arange(23 * 6, dtype=np.int32).reshape(23, 2, 3)
"""24 bytes each: four in a file of 100."""


@pytest.mark.parametrize("at_a_time", [1, 3, 4, 5, 23])
def test_each_file_is_full_but_the_last_however_the_rows_come(tmp_path, at_a_time):
    write(tmp_path / "a.npy", ROWS, at_a_time)
    files = array_files(tmp_path / "a.npy")
    assert [path.name for path in files] == ["a.npy", *(f"a.{number}.npy" for number in range(1, 6))]
    assert [len(np.load(path)) for path in files] == [4, 4, 4, 4, 4, 3]
    assert np.array_equal(np.concatenate([np.load(path) for path in files]), ROWS)


def test_a_file_that_is_just_full_is_the_only_one(tmp_path):
    write(tmp_path / "a.npy", ROWS[:4], 2)
    assert array_files(tmp_path / "a.npy") == [tmp_path / "a.npy"]
    np.save(tmp_path / "by-numpy.npy", ROWS[:4])
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "by-numpy.npy").read_bytes()


def test_a_row_larger_than_a_file_has_one_of_its_own(tmp_path):
    rows = np.arange(90, dtype=np.float32).reshape(3, 30)
    write(tmp_path / "a.npy", rows, 3)
    assert [len(np.load(path)) for path in array_files(tmp_path / "a.npy")] == [1, 1, 1]


def test_rows_are_read_across_files(tmp_path):
    write(tmp_path / "a.npy", ROWS, 7)
    reader = ArrayReader(tmp_path / "a.npy")
    assert (reader.shape, reader.dtype, reader.row_bytes) == ((23, 2, 3), np.int32, 24)
    for first in range(23):
        for count in range(24 - first):
            memory = bytearray(count * 24)
            reader.read(first, count, memoryview(memory))
            assert np.array_equal(np.frombuffer(memory, np.int32).reshape(count, 2, 3), ROWS[first : first + count])


def test_a_file_of_another_shape_is_refused(tmp_path):
    write(tmp_path / "a.npy", ROWS, 7)
    np.save(tmp_path / "a.2.npy", np.zeros((4, 2, 4), dtype=np.int32))
    with pytest.raises(BadSampleError, match=r"a\.2\.npy holds int32 \(4, 2, 4\), unlike a\.npy"):
        ArrayReader(tmp_path / "a.npy")
