"""What Hugging Face datasets and webdataset wrote is read as it is; write.py, beside the files, made them."""

from pathlib import Path

import numpy as np
import pytest
from embedded_data import prepared

WRITTEN = Path(__file__).parent / "written_by_libraries"


@pytest.fixture
def prepare_from(tmp_path):
    return lambda root, manifest=".": prepared(root, manifest, tmp_path / "store")


CASES = {
    "hub": (
        ".",
        [*(f"train-{i}" for i in range(12)), *(f"val-{i}" for i in range(4)), *(f"test-{i}" for i in range(4))],
    ),
    "disk": (".", [f"s{i:02}" for i in range(20)]),
    "shards": ("*-{000..000}.tar", [f"s{i:02}" for i in [*range(8), *range(12, 20)]]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_sample_is_decoded_with_its_class_split_and_id(name, prepare_from):
    manifest, ids = CASES[name]
    store = prepare_from(WRITTEN / name, manifest)
    numbers = [i for i in range(20) if name != "shards" or not 8 <= i < 12]
    assert store.ids.tolist() == ids
    assert store.splits.tolist() == ["train" if i < 12 else "val" if i < 16 else "test" for i in numbers]
    classes = ("0", "1") if name == "shards" else ("cat", "dog")
    assert [store.classes[label] for label in store.labels] == [classes[i % 2] for i in numbers]
    for row, i in enumerate(numbers):
        np.testing.assert_array_equal(store.sample("image", row), np.full((1, 4, 4), 10 * i, np.uint8))
        np.testing.assert_array_equal(store.sample("audio", row), np.full(80, 100 * i, np.int16))


def test_the_store_lists_files_by_their_own_names_or_by_row(prepare_from):
    import pyarrow.parquet

    store = prepare_from(WRITTEN / "hub")
    rows = pyarrow.parquet.read_table(store.path / "samples.parquet").to_pylist()
    assert (rows[9]["audio"], rows[9]["image"]) == ("sound-9.wav", "data/train-00001-of-00002.parquet::2/image")


def test_the_checksums_are_those_of_the_files_that_hold_the_samples(prepare_from):
    store = prepare_from(WRITTEN / "shards", "*.tar")
    lines = (store.path / "files.sha256").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "test-000.tar",
        "train-000.tar",
        "train-001.tar",
        "validation-000.tar",
    ]
