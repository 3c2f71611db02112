"""UCF-101 (Soomro et al., 2012): human actions in YouTube videos; colour and optical flow."""

import re
from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_lines
from bss.datasets.preset import i3d, optical_flow, paper_preset, sgd, video_clip
from bss.errors import raise_problems

LISTS = {"train": "ucfTrainTestlist/trainlist01.txt", "test": "ucfTrainTestlist/testlist01.txt"}
CLASSES = "ucfTrainTestlist/classInd.txt"
CLIP = re.compile(r"(?P<label>\w+)/(?P<clip>(?P<group>v_\w+_g[0-9]+)_c[0-9]+)\.avi(?: (?P<number>[0-9]+))?")
"""A line of a list; only train lists have the class number."""


def read(root: Path) -> list[Row]:
    """Return a row per clip of the first published split; the group comes from the file name, <class>_gXX.

    Optical flow comes from the folder flow_data if it exists; otherwise it is computed from the video.
    """
    numbers = _class_numbers(root)
    return [row for split in LISTS for row in _rows(root, split, numbers)]


def _class_numbers(root: Path) -> dict[str, str]:
    entries = [(number, line.split()) for number, line in read_lines(root, CLASSES)]
    problems = [
        f"line {number}: expected <number> <class>, found {' '.join(entry)[:100]!r}"
        for number, entry in entries
        if len(entry) != 2
    ]
    raise_problems(str(root / CLASSES), problems, "Is it the file of the distribution?")
    return {entry[1]: entry[0] for _, entry in entries}


def _rows(root: Path, split: str, numbers: dict[str, str]) -> list[Row]:
    precomputed = (root / "flow_data").is_dir()
    rows, problems = [], []
    for line_number, line in read_lines(root, LISTS[split]):
        found = CLIP.fullmatch(line.strip())
        if found is None:
            problems.append(f"line {line_number}: expected <class>/v_<class>_gXX_cYY.avi, found {line[:100]!r}")
            continue
        label, clip = found["label"], found["clip"]
        if label not in numbers or found["number"] not in (None, numbers[label]):
            problems.append(f"line {line_number}: {line.strip()!r} has a class or number that is not in {CLASSES}")
        video = f"UCF-101/{label}/{clip}.avi"
        flow = f"flow_data/{clip}.npy" if precomputed else video
        rows.append({"id": clip, "label": label, "split": split, "group": found["group"], "rgb": video, "flow": flow})
    raise_problems(str(root / LISTS[split]), problems, "Is it the file of the distribution?")
    return rows


DATASET = Dataset(
    name="ucf-101",
    title="UCF-101",
    citation=(
        "K. Soomro, A. R. Zamir, M. Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The "
        "Wild. CRCV-TR-12-01, University of Central Florida, 2012."
    ),
    address="https://www.crcv.ucf.edu/data/UCF101.php",
    read=read,
    group="group of videos",
    classes=101,
    counts={"train": 9537, "test": 3783},
    layout="""
ucfTrainTestlist/classInd.txt           1 ApplyEyeMakeup
ucfTrainTestlist/trainlist01.txt        ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1; the first published split
ucfTrainTestlist/testlist01.txt         the same without the number
UCF-101/<class>/v_<class>_gXX_cYY.avi   video
flow_data/v_<class>_gXX_cYY.npy         optical flow; without flow_data it is computed
""",
    preset=paper_preset(
        {"rgb": video_clip(3), "flow": optical_flow()},
        {"rgb": i3d(flip=True), "flow": i3d(flip=True)},
        optimiser=sgd(0.01),
        batch_size=2,
    ),
    notes=(
        "Not in the paper: frames and training are those of NVGesture, with I3D networks from scratch.",
        "The published split separates the groups gXX; the honest protocol splits val off from train, by group.",
        "The middle 80 frames of a video are stored; in shorter videos the last frame is repeated.",
        "Without the folder flow_data, optical flow is computed from the video with Farneback's method, which needs "
        "OpenCV. With the folder, prepare.modalities.flow.compute: false avoids OpenCV.",
        "The store takes about 490 GB; reduce height and width of prepare.modalities and of the encoders' "
        "crop to shrink it.",
    ),
)
