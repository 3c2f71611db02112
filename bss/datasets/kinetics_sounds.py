"""Kinetics-Sounds (Arandjelovic and Zisserman, 2017): the classes of Kinetics that can be seen and heard."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_table_with_header, youtube_video
from bss.datasets.preset import FIRST_FRAME, paper_preset, sgd, sound_and_frames


def read(root: Path) -> list[Row]:
    """Return a row per clip of the published annotations, and of annotations/val.csv if it exists."""
    splits = ["train", "val", "test"] if (root / "annotations/val.csv").exists() else ["train", "test"]
    return [
        {
            "id": f"{split}/{row['youtube_id']}",
            "label": row["label"],
            "split": split,
            "group": youtube_video(row["youtube_id"]),
            "audio": f"{split}_wav/{row['youtube_id']}.wav",
            "video": f"{split}_img/Image-01-FPS/{row['youtube_id']}",
        }
        for split in splits
        for row in read_table_with_header(root, f"annotations/{split}.csv", ("youtube_id", "label"))
    ]


DATASET = Dataset(
    name="kinetics-sounds",
    title="Kinetics-Sounds",
    citation=(
        "R. Arandjelovic, A. Zisserman: Look, Listen and Learn. ICCV, 2017. Its videos are from W. Kay et "
        "al.: The Kinetics Human Action Video Dataset. arXiv:1705.06950, 2017."
    ),
    address="https://github.com/cvdfoundation/kinetics-dataset",
    read=read,
    group="YouTube video",
    classes=31,
    counts={"train": 15000, "val": 1900, "test": 1900},
    accuracy={
        "concat": 64.55,
        "etmc": 65.67,
        "mses": 64.71,
        "g-blending": 67.1,
        "domfn": 66.25,
        "ogm": 66.06,
        "mslr": 65.91,
        "agm": 66.02,
        "pmr": 66.56,
        "reconboost": 70.85,
        "mmpareto": 70.0,
        "smv": 69.0,
        "mla": 70.04,
        "amss": 72.25,
        "bss-h": 72.67,
        "bss-l": 73.95,
    },
    options={"mslr": {"coefficients": {"audio": 0.9, "video": 1.1}}, "amss": {"temperature": 0.2}},
    layout="""
annotations/train.csv, annotations/test.csv   youtube_id,label with this header; annotations/val.csv is optional
train_wav/<youtube_id>.wav                    sound; test_wav, val_wav for the other splits
train_img/Image-01-FPS/<youtube_id>/*.jpg     one frame per second; test_img, val_img for the other splits
""",
    preset=paper_preset(
        *sound_and_frames(sample_rate=35400, seconds=10.0, frames=3, height=256, width=340, crop=224, per_frame=True),
        optimiser=sgd(0.1),
        head_initialisation="xavier",
    ),
    methods={"bss-l": {"train": {"epochs": 100}}},
    differs=(
        FIRST_FRAME,
        "Their spectrogram has 257 x 1004 values; ten seconds give 257 x 1003 here.",
    ),
    notes=(
        "Without annotations/val.csv the honest protocol splits val off from train, by video.",
        "Three frames of a clip are used, ordered by name: the middle ones of three equal parts, always the same.",
        "Frames are resized to 256 x 340 pixels; the store takes about 41 GB.",
    ),
)
