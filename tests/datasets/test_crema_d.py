"""CREMA-D in miniature: eight actors, each emotion, in both layouts, with real WAV, JPEG and FLV files."""

import numpy as np
import pytest
import soundfile
from media import stamp, write_video
from PIL import Image
from small_training import small_config

from bss.datasets.crema_d import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from tests.datasets import miniatures

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
ACTORS = range(1001, 1009)


def clips():
    return [(f"{actor}_IEO_{emotion}_XX", emotion) for actor in ACTORS for emotion in EMOTIONS]


def write_annotations(root):
    (root / "annotations").mkdir(parents=True)
    for split, part in (("train", clips()[::2] + clips()[1::4]), ("test", clips()[3::4])):
        lines = [f"{clip},{emotion}\n" for clip, emotion in part]
        (root / "annotations" / f"{split}.csv").write_text("".join(lines))


def write_published(root):
    """Sound and frames as the published loaders read them; the number of frames differs from clip to clip."""
    write_annotations(root)
    (root / "AudioWAV").mkdir()
    random = np.random.default_rng(0)
    for i, (clip, _) in enumerate(clips()):
        soundfile.write(root / "AudioWAV" / f"{clip}.wav", 0.1 * random.standard_normal(4000), 16000, subtype="PCM_16")
        folder = root / "Image-01-FPS" / clip
        folder.mkdir(parents=True)
        for number in range(2 + i % 2):
            image = Image.fromarray(np.full((36, 48, 3), 40 * number + i % 6, dtype=np.uint8))
            image.save(folder / f"{number:05d}.jpg", quality=95)
            stamp(folder / f"{number:05d}.jpg")


published = miniatures.written_by(write_published)
own = miniatures.copy_of("published")


def test_the_published_split_is_read_as_it_is_and_has_no_val(published, tmp_path, capsys):
    config, emotions = small_config("crema-d", published, "published"), tuple(sorted(EMOTIONS))
    miniatures.require_published(
        config, tmp_path, capsys, {"train": 36, "test": 12}, emotions, ["train 36 of 6,698, test 12 of 744"]
    )


def test_the_honest_split_has_every_actor_once_and_every_emotion_everywhere(published):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    assert left_out == 0
    actors = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert sum(len(some) for some in actors.values()) == len(ACTORS)
    assert set.union(*actors.values()) == {str(actor) for actor in ACTORS}
    for split, some in actors.items():
        assert some
        assert {row["label"] for row in rows if row["split"] == split} == set(EMOTIONS)


def test_the_frame_is_the_middle_one_by_name(published, tmp_path):
    store = miniatures.prepared(small_config("crema-d", published), tmp_path)
    for i, (clip, _) in enumerate(clips()):
        frame = store.read("video", np.flatnonzero(store.ids == clip))
        assert frame.shape[1] == 1
        assert abs(frame.mean() - (40 + i % 6)) < 2  # of two the second, of three the second


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_every_stage_runs_in_both_protocols(published, tmp_path, protocol):
    report = miniatures.require_comparison(small_config("crema-d", published, protocol), tmp_path)
    header = (report / "curves.csv").read_text().splitlines()
    assert header[1].split(",")[header[0].split(",").index("split")] == {"honest": "val", "published": "test"}[protocol]


@pytest.mark.slow
def test_the_raw_flash_videos_do_where_nothing_was_extracted(tmp_path):
    root = tmp_path / "raw"
    write_annotations(root)
    (root / "VideoFlash").mkdir()
    tone = (22050, 0.2 * np.sin(np.arange(22050) / 10).astype(np.float32)[None])
    for i, (clip, _) in enumerate(clips()):
        frames = np.full((10, 32, 48, 3), 30 + 30 * (i % 6), dtype=np.uint8)
        write_video(root / "VideoFlash" / f"{clip}.flv", frames, codec="flv", sound=tone, sound_codec="mp3")
    store = miniatures.prepared(small_config("crema-d", root), tmp_path)
    assert len(store) == 48
    assert abs(store.read("video", np.arange(1)).mean() - 30) < 6
    listed = (tmp_path / "store" / "files.sha256").read_text().splitlines()
    assert len(listed) == 48  # sound and frames come from one file


def test_missing_and_broken_files_are_named_and_can_be_left_out(own, tmp_path):
    (own / "AudioWAV" / "1001_IEO_NEU_XX.wav").unlink()
    (own / "AudioWAV" / "1002_IEO_HAP_XX.wav").write_bytes(b"RIFF")
    for image in (own / "Image-01-FPS" / "1003_IEO_SAD_XX").iterdir():
        image.unlink()
    names = ("1001_IEO_NEU_XX", "1002_IEO_HAP_XX", "1003_IEO_SAD_XX")
    skipped = miniatures.require_bad_samples("crema-d", own, tmp_path, 3, names, 45)
    assert all(name in skipped for name in names)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "annotations" / "test.csv").unlink(), r"annotations/test\.csv: cannot be read"),
        (lambda root: (root / "annotations" / "train.csv").write_text("a,b,c\n"), r"row 1: 3 values for the columns"),
        (lambda root: (root / "annotations" / "train.csv").write_text(""), r"annotations/train\.csv: empty"),
        (lambda root: (root / "AudioWAV").rename(root / "Audio"), r"has none of AudioWAV, VideoFlash"),
    ],
)
def test_a_layout_that_is_not_the_published_one_is_refused_by_name(own, damage, message):
    damage(own)
    with pytest.raises(BssError, match=message):
        DATASET.read(own)
