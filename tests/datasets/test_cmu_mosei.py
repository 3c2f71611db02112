"""CMU-MOSEI in miniature: features of twenty videos in real .npy files, made from a pickle by the documented script."""

import contextlib
import pickle
from collections import Counter

import numpy as np
import pytest
from small_training import small_config

from bss.datasets.cmu_mosei import DATASET, sentiment_class
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from tests.datasets import miniatures

SHAPES = {"audio": (5, 4), "vision": (5, 3), "text": (5, 6)}
VIDEOS = {"train": range(12), "valid": range(12, 16), "test": range(16, 20)}


def pickled():
    """Two segments per video, sentiments in thirds from -3 to 3, in the structure of the toolkit's pickle."""
    random = np.random.default_rng(0)
    data = {}
    for split, videos in VIDEOS.items():
        names = [f"-vid_{video}$_${segment}" for video in videos for segment in (0, 7)]
        labels = np.linspace(-3, 3, len(names)).astype(np.float32)
        data[split] = {"id": names, "regression_labels": labels, "raw_text": ["a"] * len(names)}
        data[split] |= {name: random.standard_normal((len(names), *shape)) for name, shape in SHAPES.items()}
    data["train"]["audio"][0, 0, 0] = -np.inf
    return data


def pickled_root(folder):
    """Return the dataset's folder below `folder`: the documented script, run where it says."""
    root = folder / "cmu-mosei"
    root.mkdir()
    (root / "aligned_50.pkl").write_bytes(pickle.dumps(pickled()))
    with contextlib.chdir(root):
        exec(compile(DATASET.conversion, "docs/datasets.md", "exec"), {})
    return root


@pytest.fixture
def published(tmp_path):
    return pickled_root(tmp_path)


def test_a_pickle_is_not_read_and_the_message_tells_of_the_script(tmp_path):
    (tmp_path / "aligned_50.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(BssError, match=r"no labels\.csv, but aligned_50\.pkl.*section CMU-MOSEI, has a script"):
        DATASET.read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_script_makes_what_is_read(published, tmp_path, capsys):
    store = miniatures.prepared(small_config("cmu-mosei", published, "published"), tmp_path)
    assert Counter(store.splits.tolist()) == {"train": 24, "val": 8, "test": 8}
    assert store.classes == ("-3", "-2", "-1", "0", "1", "2", "3")
    assert store.ids[:2].tolist() == ["-vid_0_0", "-vid_0_7"]
    data = pickled()["train"]
    assert store.labels[:24].tolist() == (np.round(data["regression_labels"]).astype(int) + 3).tolist()
    for name in SHAPES:
        np.testing.assert_array_equal(store.read(name, np.array([1]))[0], data[name][1].astype(np.float32))
    assert store.read("audio", np.array([0]))[0, 0, 0] == 0  # was -inf
    assert "train 24 of 16,326, val 8 of 1,871, test 8 of 4,659" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("text", "name"),
    [("-3", "-3"), ("2.6", "3"), ("0.5", "0"), ("1.5", "2"), ("-0.4", "0"), ("3.01", None), ("nan", None), ("x", None)],
)
def test_a_sentiment_is_rounded_to_seven_classes(text, name):
    assert sentiment_class(text) == name


def test_the_honest_split_leaves_out_a_video_that_test_has(published, tmp_path):
    rows = DATASET.read(published)
    assert honest_rows(rows, DATASET.honest) == (rows, 0)
    path = published / "labels.csv"
    swapped = path.read_text().replace("-vid_0,7,", "swapped,7,").replace("-vid_19,7,", "-vid_0,7,")
    path.write_text(swapped.replace("swapped,7,", "-vid_19,7,"))
    kept, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    assert left_out == 2  # both videos are in train and test now, with a segment in each
    videos = {split: {row["group"] for row in kept if row["split"] == split} for split in ("train", "val", "test")}
    assert not videos["train"] & (videos["val"] | videos["test"])
    assert "-vid_19" in videos["test"]


test_every_stage_runs_with_three_modalities = miniatures.every_stage("cmu-mosei")


def test_missing_and_broken_features_are_named_and_can_be_left_out(published, tmp_path):
    (published / "vision" / "-vid_1_0.npy").unlink()
    (published / "audio" / "-vid_2_7.npy").write_bytes(b"\x93NUMPY")
    np.save(published / "text" / "-vid_3_0.npy", np.zeros((4, 6), dtype=np.float32))
    miniatures.require_bad_samples("cmu-mosei", published, tmp_path, 3, ("-vid_1_0", "-vid_2_7", "-vid_3_0"), 37)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"labels\.csv: cannot be read"),
        ("video,segment\n", r"row 1: 2 values for the columns"),
        ("video,segment,label,split\na,0,1,train\n", r"header is \['video', 'segment'"),
        ("video_id,segment,label,split\na,0,7,train\n", r"row 1: label '7' is not a sentiment from -3 to 3"),
    ],
)
def test_labels_that_are_not_as_documented_are_refused_by_name(tmp_path, text, message):
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(tmp_path)
