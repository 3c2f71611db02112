"""A store whose arrays are in several files trains to the results of one whose arrays are in one."""

import numpy as np
import pytest
from in_shards import joined

from bss.config import config_from_tree, config_to_tree
from bss.data import array_file
from bss.data.array_file import array_files
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train

DATA = "d" * 32


@pytest.fixture
def split(small_root, tree, make_config, tmp_path, monkeypatch):
    """The folder of the small data's store with files of 1,000 bytes, and its configuration."""
    monkeypatch.setattr(array_file, "FILE_BYTES", 1000)
    config = make_config(tree)
    prepare(config, small_root, tmp_path / "split")
    return tmp_path / "split", config


def test_every_sample_is_the_same(split, small_store):
    found, expected = Store.open(split[0]), Store.open(small_store)
    for name in expected.modalities:
        files = array_files(split[0] / f"{name}.npy")
        assert len(files) > 1 or expected.bytes_of(name, np.arange(len(expected))) <= 1000
        assert all(path.stat().st_size <= 1000 + 128 for path in files)
        for row in range(len(expected)):
            assert np.array_equal(found.sample(name, row), expected.sample(name, row))
    assert len(array_files(split[0] / "audio.npy")) > 2


@pytest.mark.slow
def test_a_training_gives_the_same_bytes(split, pipeline, tmp_path):
    store, config = split
    folder = pipeline[0]
    tree = config_to_tree(config) | {"seeds": [0]}
    tree["schedule"]["schedulers"] = {"uniform": tree["schedule"]["schedulers"]["uniform"]}
    tree["compare"] |= {"control": None}
    config = config_from_tree(tree, "params.yaml")
    measure(config, store, tmp_path / "scores")
    schedule(config, store, tmp_path / "scores", tmp_path / "plans")
    train(config, store, tmp_path / "scores", tmp_path / "plans", tmp_path / "runs")
    for name in ("metrics.json", "history.csv", "model.pt", "predictions.parquet"):
        trained = (tmp_path / "runs" / "uniform" / "seed=0" / name).read_bytes()
        assert trained == (folder / "runs" / "uniform" / "seed=0" / name).read_bytes()


@pytest.mark.slow
def test_shards_are_joined_to_the_same_files(split, small_root, tmp_path):
    store, config = split
    made = joined(config, small_root, tmp_path, 3)
    for path in store.iterdir():
        assert digest_file(made / path.name) == digest_file(path)


def test_a_file_that_is_missing_is_refused(split):
    store, _ = split
    array_files(store / "image.npy")[-1].unlink()
    with pytest.raises(BssError, match=r"image\.npy: holds .*, but store\.json says"):
        Store.open(store)
