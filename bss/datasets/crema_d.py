"""CREMA-D (Cao et al., 2014): actors say sentences in six emotions; sound and face."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_table, sound_and_frames_of
from bss.datasets.preset import CREMA_D_TRAINING, FIRST_FRAME, paper_preset, sound_and_frames


def read(root: Path) -> list[Row]:
    """Return a row per clip of the published annotations; the group is the actor."""
    paths = sound_and_frames_of(root, "VideoFlash", ".flv")
    return [
        {"id": row["clip"], "label": row["emotion"], "split": split, "group": row["clip"].split("_")[0]}
        | paths(row["clip"])
        for split in ("train", "test")
        for row in read_table(root, f"annotations/{split}.csv", ("clip", "emotion"))
    ]


DATASET = Dataset(
    name="crema-d",
    title="CREMA-D",
    citation=(
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-Sourced "
        "Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 2014."
    ),
    address="https://github.com/CheyneyComputerScience/CREMA-D",
    read=read,
    group="actor",
    honest="new splits",
    classes=6,
    counts={"train": 6698, "test": 744},
    accuracy={
        "concat": 63.31,
        "etmc": 65.86,
        "mses": 61.56,
        "g-blending": 64.65,
        "domfn": 67.34,
        "ogm": 66.94,
        "mslr": 65.46,
        "agm": 67.07,
        "pmr": 66.59,
        "reconboost": 74.84,
        "mmpareto": 74.87,
        "smv": 78.72,
        "mla": 79.43,
        "amss": 70.3,
        "bss-h": 80.78,
        "bss-l": 82.80,
    },
    options={
        "ogm": {"alpha": 0.8},
        "mslr": {"coefficients": {"audio": 0.9, "video": 1.1}},
        "amss": {"temperature": 0.2},
    },
    layout="""
annotations/train.csv, annotations/test.csv   1001_DFA_ANG_XX,ANG; no header
AudioWAV/<clip>.wav                           or the sound of VideoFlash/<clip>.flv
Image-01-FPS/<clip>/*.jpg                     or VideoFlash/<clip>.flv, one frame per second
""",
    preset=paper_preset(
        *sound_and_frames(sample_rate=22050, seconds=20.0, frames=1, height=360, width=480, crop=224),
        **CREMA_D_TRAINING,
        loss_weights={"fused": 0.1, "unimodal": 0.9},
        prediction="unimodal-heads",
        head_initialisation="xavier",
    ),
    differs=(FIRST_FRAME,),
    notes=(
        "The published test split has all 91 actors of train, and there is no val: the honest split is by actor.",
        "The middle frame of each clip is used, always the same.",
    ),
)
