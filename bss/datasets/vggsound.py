"""VGGSound (Chen et al., 2020): ten-second YouTube clips whose sound source is visible."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import first_there, read_table, sound_and_frames_of, youtube_video
from bss.datasets.preset import FIRST_FRAME, paper_preset, sgd, sound_and_frames
from bss.errors import raise_problems


def read(root: Path) -> list[Row]:
    """Return a row per clip of train.csv and test.csv if they exist, otherwise of vggsound.csv."""
    clips = _published(root) if first_there(root, "train.csv", "vggsound.csv") == "train.csv" else _official(root)
    paths = sound_and_frames_of(root, "video", ".mp4")
    return [
        {"id": clip, "label": label, "split": split, "group": youtube_video(clip)} | paths(clip)
        for split, label, clip in clips
    ]


def _published(root: Path) -> list[tuple[str, str, str]]:
    """Return split, class and clip, like the published loader."""
    return [
        (split, row["class"], row["clip"])
        for split in ("train", "test")
        for row in read_table(root, f"{split}.csv", ("first", "class", "clip"), more=True)
    ]


def _official(root: Path) -> list[tuple[str, str, str]]:
    """Return split, class and clip of the distributed table; a clip is named by its video and start."""
    rows = read_table(root, "vggsound.csv", ("video", "start", "class", "split"))
    problems = [
        f"row {number}: start {row['start']!r} or split {row['split']!r}: need whole seconds, and train or test"
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
    classes=309,
    counts={"train": 168618, "test": 13954},
    accuracy={
        "ogm": 48.29,
        "agm": 47.11,
        "reconboost": 50.97,
        "mmpareto": 51.25,
        "smv": 50.31,
        "mla": 51.65,
        "bss-h": 51.61,
        "bss-l": 52.80,
    },
    layout="""
train.csv, test.csv          second field: class, third: clip; class names with commas in quotes; no header
                             or the official vggsound.csv, youtube_id,start,label,split; no header
AudioWAV/<clip>.wav          or the sound of video/<clip>.mp4
Image-01-FPS/<clip>/*.jpg    or video/<clip>.mp4, one frame per second
                             for vggsound.csv, <clip> is <youtube_id>_<start in six digits>
""",
    preset=paper_preset(
        *sound_and_frames(sample_rate=35400, seconds=20.0, frames=1, height=384, width=512, crop=384),
        optimiser=sgd(0.01),
        head_initialisation="xavier",
    ),
    methods={"bss-l": {"train": {"batch_size": 16, "epochs": 100}}},
    differs=(
        FIRST_FRAME,
        "Their heads have 310 outputs; here as many as there are classes in the files.",
        "Their first loader keeps an incomplete last batch; here every epoch drops it.",
    ),
    notes=(
        "The published test split is kept; the honest protocol splits val off from train, by video.",
        "The middle frame of each clip is used, always the same.",
        "It has 309 class names; some sources report 310 classes.",
        "The official table lists more clips than the paper, and many are no longer available: "
        "prepare.on_bad_sample: skip leaves out and lists the missing ones.",
        "Clips last 10 seconds and are repeated to fill the published 20.",
        "Frames are resized to 384 x 512 pixels. The store takes about 370 GB; "
        "prepare.modalities.audio.stored: int16 reduces that to 240 GB.",
    ),
)
