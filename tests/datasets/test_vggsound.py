"""VGGSound in miniature: both tables, with WAV and JPEG files or with MP4 files that hold sound and frames."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
from media import grey_steps, stamp, write_video
from PIL import Image
from small_training import small_config

from bss.data.store import Store
from bss.datasets.splits import honest_rows
from bss.datasets.vggsound import DATASET
from bss.errors import BssError
from tests.datasets import miniatures

CLASSES = ("dog barking", "people eating, chewing", "railroad car, train wagon")


def videos(split):
    """Video, start in seconds and class; the first video of train is in test too, at another second."""
    count = {"train": 24, "test": 6}[split]
    names = [f"vid_{split[:2]}_{i:02d}-x" for i in range(count)]
    if split == "test":
        names[0] = "vid_tr_00-x"
    return [(name, 10 * i + (split == "test"), CLASSES[i % 3]) for i, name in enumerate(names)]


def clips(split):
    return [f"{video}_{start:06d}" for video, start, _ in videos(split)]


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_published(root):
    """As the published loader reads it: quoted class names, further fields, sound and frames in files of their own."""
    (root / "AudioWAV").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        rows = zip(videos(split), clips(split), strict=True)
        write_table(root / f"{split}.csv", [(i, v[2], clip, "further") for i, (v, clip) in enumerate(rows)])
        for i, clip in enumerate(clips(split)):
            sound = 0.1 * random.standard_normal(2400)
            soundfile.write(root / "AudioWAV" / f"{clip}.wav", sound, 16000, subtype="PCM_16")
            folder = root / "Image-01-FPS" / clip
            folder.mkdir(parents=True)
            for number in range(8 + 2 * (i % 3)):
                Image.fromarray(np.full((36, 48, 3), 10 * number, dtype=np.uint8)).save(folder / f"{number}.jpg")
                stamp(folder / f"{number}.jpg")


def write_official(root):
    """The distribution's table and clips; a clip has three seconds, second j has the brightness 20 + 10 j."""
    (root / "video").mkdir(parents=True)
    rows = [(*video, split) for split in ("train", "test") for video in videos(split)]
    write_table(root / "vggsound.csv", rows)
    for i, clip in enumerate(clips("train") + clips("test")):
        tone = 0.2 * np.sin(np.arange(16000) / (3 + i % 5)).astype(np.float32)[None]
        write_video(root / "video" / f"{clip}.mp4", grey_steps(3), rate=1, sound=(16000, tone))


published = miniatures.written_by(write_published)


official = miniatures.written_by(write_official)


@pytest.mark.slow
def test_both_tables_list_the_same_samples(published, official):
    facts = ("id", "label", "split", "group")
    tables = [[[row[fact] for fact in facts] for row in DATASET.read(root)] for root in (published, official)]
    assert tables[0] == tables[1]
    assert {row[1] for row in tables[0]} == set(CLASSES)


published_store = miniatures.store_of("published", lambda root: small_config("vggsound", root, "published"))


def test_the_published_split_is_read_as_it_is_and_has_no_val(published_store):
    texts = ["train 24 of 168,618, test 6 of 13,954", "1 groups are in two splits (protocol published)"]
    miniatures.require_store(*published_store, {"train": 24, "test": 6}, CLASSES, texts)


def test_the_honest_split_leaves_out_of_train_the_videos_of_test(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    assert left_out == 1
    assert "vid_tr_00-x_000000" not in {row["id"] for row in rows}
    assert "vid_tr_00-x_000001" in {row["id"] for row in rows}
    counts = Counter(miniatures.prepared(small_config("vggsound", published), tmp_path).splits.tolist())
    assert counts["test"] == 6
    assert counts["train"] + counts["val"] == 23
    assert counts["val"] > 0


def test_the_frame_is_the_middle_one_by_the_value_of_its_name(published_store):
    store = Store.open(published_store[0])
    for i, clip in enumerate(clips("train")):
        frame = store.read("video", np.flatnonzero(store.ids == clip))
        assert frame.shape[1] == 1
        assert round(frame.mean() / 10) == 4 + i % 3  # of 8, 10 and 12 frames


def test_sound_and_frame_come_from_one_file_where_nothing_was_extracted(official, tmp_path):
    store = miniatures.prepared(small_config("vggsound", official, "published"), tmp_path)
    assert len(store) == 30
    assert abs(store.read("video", np.arange(30)).mean() - 30) < 6  # the frame of the middle second
    assert 0.1 < np.abs(store.read("audio", np.arange(30)).values).max() < 0.3  # tones of 0.2
    listed = (tmp_path / "store" / "files.sha256").read_text().splitlines()
    assert len(listed) == 30


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "protocol"), [("published", "published"), ("official", "honest")])
def test_every_stage_runs_in_both_protocols(request, tmp_path, layout, protocol):
    miniatures.require_comparison(small_config("vggsound", request.getfixturevalue(layout), protocol), tmp_path)


def test_missing_and_broken_files_are_named_and_can_be_left_out(official, tmp_path):
    root = shutil.copytree(official, tmp_path / "VGGSound")
    missing, broken, mute = clips("train")[1:4]
    (root / "video" / f"{missing}.mp4").unlink()
    (root / "video" / f"{broken}.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    write_video(root / "video" / f"{mute}.mp4", grey_steps(3), rate=1)
    texts = (
        f"audio video/{missing}.mp4: file not found",
        f"video video/{broken}.mp4: not a readable video file",
        f"audio video/{mute}.mp4: has no audio track",
    )
    skipped = miniatures.require_bad_samples("vggsound", root, tmp_path, 3, texts, 26)
    assert all(name in skipped for name in (missing, broken, mute))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has none of train\.csv, vggsound\.csv"),
        ({"train.csv": "0,dog barking\n"}, r"train\.csv: 1 problem\n  row 1: 2 values for the columns"),
        ({"train.csv": "0,dog barking,a\n"}, r"test\.csv: cannot be read"),
        ({"vggsound.csv": "a,1,people eating, chewing,train\n"}, r"vggsound\.csv: 1 problem\n  row 1: 5 values"),
        ({"vggsound.csv": "youtube_id,start,label,split\na,1,b,train\n"}, r"1 problem\n  row 1: start 'start'"),
        ({"vggsound.csv": "a,1,b,train\n"}, r"has none of AudioWAV, video"),
    ],
)
def test_a_layout_that_is_not_the_published_one_is_refused_by_name(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(tmp_path)
