"""VGGSound (Chen et al., 2020): clips of ten seconds from YouTube whose sound has its source in the picture."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import first_there, read_table, youtube_video
from bss.datasets.preset import FIRST_FRAME, paper_preset, sgd, sound_and_frames
from bss.errors import raise_problems


def read(root: Path) -> list[Row]:
    """Return a row per clip, of train.csv and test.csv where they are there, else of vggsound.csv."""
    clips = _published(root) if first_there(root, "train.csv", "vggsound.csv") == "train.csv" else _official(root)
    sounds = first_there(root, "AudioWAV", "video")
    frames = first_there(root, "Image-01-FPS", "video")
    return [
        {
            "id": clip,
            "label": label,
            "split": split,
            "group": youtube_video(clip),
            "audio": f"{sounds}/{clip}" + (".wav" if sounds == "AudioWAV" else ".mp4"),
            "video": f"{frames}/{clip}" + ("" if frames == "Image-01-FPS" else ".mp4"),
        }
        for split, label, clip in clips
    ]


def _published(root: Path) -> list[tuple[str, str, str]]:
    """Return split, class and clip as the published loader reads them."""
    return [
        (split, row["class"], row["clip"])
        for split in ("train", "test")
        for row in read_table(root, f"{split}.csv", ("first", "class", "clip"), more=True)
    ]


def _official(root: Path) -> list[tuple[str, str, str]]:
    """Return split, class and clip of the distribution's table; a clip is named by its video and its start."""
    rows = read_table(root, "vggsound.csv", ("video", "start", "class", "split"))
    problems = [
        f"row {number}: start {row['start']!r} and split {row['split']!r} are no whole seconds and train or test"
        for number, row in enumerate(rows, 1)
        if row["split"] not in ("train", "test") or not (row["start"].isascii() and row["start"].isdigit())
    ]
    raise_problems(str(root / "vggsound.csv"), problems, "Is it the file of the distribution, without a header?")
    return [(row["split"], row["class"], f"{row['video']}_{int(row['start']):06d}") for row in rows]


DATASET = Dataset(
    name="vggsound",
    title="VGGSound",
    citation=("H. Chen, W. Xie, A. Vedaldi, A. Zisserman: VGGSound: A Large-Scale Audio-Visual Dataset. ICASSP, 2020."),
    address="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    read=read,
    group="YouTube video",
    honest="published splits",
    classes=309,
    counts={"train": 168618, "test": 13954},
    accuracy={"BSS-H": 51.61, "BSS-L": 52.80},
    layout="""
train.csv, test.csv          second field: class, third: clip; class names with commas in quotes; no header
                             or the official vggsound.csv, youtube_id,start,label,split; no header
AudioWAV/<clip>.wav          or the sound of video/<clip>.mp4
Image-01-FPS/<clip>/*.jpg    or video/<clip>.mp4, one frame per second
                             of vggsound.csv a <clip> is <youtube_id>_<start in six digits>
""",
    preset=paper_preset(
        *sound_and_frames(sample_rate=35400, seconds=20.0, frames=1, height=384, width=512, crop=384),
        optimiser=sgd(0.01),
        batch_size=32,
        epochs=120,
        decay_at=[70],
        head_initialisation="xavier",
    ),
    methods={"bss-l": {"train": {"batch_size": 16, "epochs": 100}}},
    differs=(
        FIRST_FRAME,
        "Their heads have 310 outputs; here there are as many as classes in the files.",
        "Their first loader keeps the last batch that is not full; here every epoch drops it.",
    ),
    notes=(
        "The published test is kept; the honest protocol takes val from train, whole videos.",
        "Of the frames of a clip the middle one is taken, always the same.",
        "Its 309 classes have names; 310 are told too.",
        "The official table names more clips than the paper has, of which many can no longer be had: "
        "prepare.on_bad_sample: skip leaves out and lists those that are missing.",
        "Clips last 10 seconds, which are repeated to fill the published 20.",
        "Frames are stored with 384 x 512 pixels whatever their own size. The store takes about 370 GB; "
        "prepare.modalities.audio.stored: int16 makes it 240 GB.",
    ),
)
