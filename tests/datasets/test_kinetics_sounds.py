"""Kinetics-Sounds in miniature: three classes, clips of eleven letters, real WAV and JPEG files."""

from collections import Counter

import numpy as np
import pytest
import soundfile
from media import stamp
from PIL import Image
from small_training import small_config

from bss.data.store import Store
from bss.datasets.kinetics_sounds import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.stages.prepare import prepare
from tests.datasets import miniatures

CLASSES = ("playing drums", "tap dancing", "tickling")
COUNTS = {"train": 24, "val": 6, "test": 6}
TWICE = "-video-tr00"
"""A video of train that test has too."""


def clips(split):
    names = [f"-video-{split[:2]}{i:02d}" for i in range(COUNTS[split])]
    names = [TWICE, *names[1:]] if split == "test" else names
    return [(name, CLASSES[i % 3]) for i, name in enumerate(names)]


def write_split(root, split):
    """Sound and frames of one split; a clip has three to eleven frames, frame j has the brightness 10 j."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    lines = ["youtube_id,label", *(f"{clip},{label}" for clip, label in clips(split))]
    (root / "annotations" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (root / f"{split}_wav").mkdir()
    random = np.random.default_rng(len(split))
    for i, (clip, _) in enumerate(clips(split)):
        sound = 0.1 * random.standard_normal(2400)
        soundfile.write(root / f"{split}_wav" / f"{clip}.wav", sound, 16000, subtype="PCM_16")
        folder = root / f"{split}_img" / "Image-01-FPS" / clip
        folder.mkdir(parents=True)
        for number in range(3 + 4 * (i % 3)):
            image = Image.fromarray(np.full((36, 48, 3), 10 * number, dtype=np.uint8))
            image.save(folder / f"{number}.jpg", quality=95)
            stamp(folder / f"{number}.jpg")


def write_published(root):
    for split in ("train", "test"):
        write_split(root, split)


published = miniatures.written_by(write_published)
own = miniatures.copy_of("published")


published_store = miniatures.store_of("published", lambda root: small_config("kinetics-sounds", root, "published"))


def test_the_published_split_is_read_as_it_is(published_store):
    texts = ["train 24 of 15,000, val 0 of 1,900, test 6 of 1,900", "1 groups are in two splits (protocol published)"]
    miniatures.require_store(*published_store, {"train": 24, "test": 6}, CLASSES, texts)


def test_the_honest_split_leaves_out_of_train_what_test_has_and_takes_val_from_train(published, tmp_path, capsys):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    assert left_out == 1
    assert f"train/{TWICE}" not in {row["id"] for row in rows}
    assert f"test/{TWICE}" in {row["id"] for row in rows}
    store = miniatures.prepared(small_config("kinetics-sounds", published), tmp_path)
    counts = Counter(store.splits.tolist())
    assert counts["test"] == 6
    assert counts["train"] + counts["val"] == 23
    assert counts["val"] > 0
    assert "1 samples left out, because another split has their YouTube video" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_published_val_is_used_where_it_is_there(own, tmp_path):
    write_split(own, "val")
    for protocol, train in (("published", 24), ("honest", 23)):
        prepare(small_config("kinetics-sounds", own, protocol), own, tmp_path / protocol)
        counts = Counter(Store.open(tmp_path / protocol).splits.tolist())
        assert counts == {"train": train, "val": 6, "test": 6}


def test_the_three_frames_are_the_middle_ones_of_three_parts_by_the_value_of_their_names(published_store):
    store = Store.open(published_store[0])
    for i, (clip, _) in enumerate(clips("train")):
        (stack,) = store.read("video", np.flatnonzero(store.ids == f"train/{clip}"))
        wanted = ([0, 1, 2], [1, 3, 5], [1, 5, 9])[i % 3]  # of 3, 7 and 11 frames
        assert [round(frame.mean() / 10) for frame in stack.astype(float)] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_every_stage_runs_in_both_protocols(published, tmp_path, protocol):
    miniatures.require_comparison(small_config("kinetics-sounds", published, protocol), tmp_path)


def test_missing_and_broken_files_are_named_and_can_be_left_out(own, tmp_path):
    (no_sound, _), (broken, _), (no_frames, _) = clips("train")[1:4]
    (own / "train_wav" / f"{no_sound}.wav").unlink()
    (own / "train_wav" / f"{broken}.wav").write_bytes(b"RIFF")
    for image in (own / "train_img" / "Image-01-FPS" / no_frames).iterdir():
        image.unlink()
    texts = [f"train_wav/{name}.wav" for name in (no_sound, broken)]
    texts.append(f"train_img/Image-01-FPS/{no_frames}: a folder without images")
    skipped = miniatures.require_bad_samples("kinetics-sounds", own, tmp_path, 3, texts, 26)
    assert all(name in skipped for name in (no_sound, broken, no_frames))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "annotations" / "test.csv").unlink(), r"annotations/test\.csv: cannot be read"),
        (
            lambda root: (root / "annotations" / "train.csv").write_text("label,youtube_id\na,b\n"),
            r"annotations/train\.csv: the header is \['label', 'youtube_id'\]",
        ),
        (lambda root: (root / "annotations" / "val.csv").write_text(""), r"annotations/val\.csv: empty"),
    ],
)
def test_annotations_that_are_not_the_published_ones_are_refused_by_name(own, damage, message):
    damage(own)
    with pytest.raises(BssError, match=message):
        DATASET.read(own)
