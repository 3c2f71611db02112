"""NVGesture (Molchanov et al., 2016): drivers' hand gestures, recorded by a colour and a depth camera."""

import re
from pathlib import Path, PurePosixPath

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_lines
from bss.datasets.preset import i3d, optical_flow, paper_preset, sgd, video_clip
from bss.errors import BssError, raise_problems

CLASSES = 25
SENSOR = re.compile(r"([\w-]+):([0-9]{1,9}):([0-9]{1,9})")
"""File without suffix, first frame from 0, and end frame (excluded)."""
REPETITION = re.compile(r"(\w+)_r[0-9]+")
"""Name of a gesture's folder, after its subject."""
PRETRAINED = {"batch_norm_momentum": 0.01, "first_maps": 8, "weights": "weights/i3d/rgb_imagenet.pt"}
"""As in the scripts, which start from the PyTorch port of I3D; users must provide the file."""
CONTENT = (
    f"path:<class>/<subject>_r<number> color:<file>:<start>:<end> depth:<file>:<start>:<end> label:<1 to {CLASSES}>"
)


def read(root: Path) -> list[Row]:
    """Return a row per gesture of the published lists; the group is the subject.

    Optical flow comes from the folder flow_data if it exists; otherwise it is computed from the colour camera.
    """
    return [row for split in ("train", "test") for row in _rows(root, split)]


def _rows(root: Path, split: str) -> list[Row]:
    name = f"nvgesture_{split}_correct_v2.lst"
    rows, problems = [], []
    for number, line in read_lines(root, name):
        row = _gesture(line)
        if row is None:
            problems.append(f"line {number}: expected {CONTENT}, found {line[:200]!r}")
        else:
            rows.append(row | {"split": split})
    raise_problems(str(root / name), problems, "Is it the file of the distribution?")
    if not (root / "flow_data").is_dir():
        return rows
    beyond = root / "flow_data" / split / f"{len(rows)}.npy"
    if beyond.exists():
        raise BssError(f"{beyond}: one file too many: the flow of the {len(rows)} lines of {name} is numbered from 0.")
    whole = {"flow_start": "", "flow_end": ""}
    return [row | {"flow": f"flow_data/{split}/{i}.npy"} | whole for i, row in enumerate(rows)]


def _gesture(line: str) -> Row | None:
    """Return the row of a line, without its split; None if it is not as published."""
    fields = {key: value for key, _, value in (part.partition(":") for part in line.split())}
    folder = PurePosixPath(fields.get("path", ""))
    subject = REPETITION.fullmatch(folder.name)
    color, depth = (SENSOR.fullmatch(fields.get(name, "")) for name in ("color", "depth"))
    label = fields.get("label", "")
    if not (subject and color and depth and label in map(str, range(1, CLASSES + 1))):
        return None
    parts = {"rgb": color, "depth": depth}
    row = {"id": "/".join(folder.parts[-2:]), "label": label, "group": subject[1]}
    for modality, part in parts.items():
        if not int(part[2]) < int(part[3]):
            return None
        row |= {modality: f"{folder}/{part[1]}.avi", f"{modality}_start": part[2], f"{modality}_end": part[3]}
    # n frames have n - 1 flows.
    return row | {"flow": row["rgb"], "flow_start": color[2], "flow_end": str(int(color[3]) - 1)}


DATASET = Dataset(
    name="nvgesture",
    title="NVGesture",
    citation=(
        "P. Molchanov, X. Yang, S. Gupta, K. Kim, S. Tyree, J. Kautz: Online Detection and Classification of "
        "Dynamic Hand Gestures with Recurrent 3D Convolutional Neural Networks. CVPR, 2016."
    ),
    read=read,
    group="subject",
    classes=CLASSES,
    counts={"train": 1050, "test": 482},
    accuracy={
        "concat": 81.33,
        "etmc": 83.61,
        "mses": 81.12,
        "g-blending": 82.99,
        "mslr": 82.86,
        "agm": 82.78,
        "reconboost": 84.13,
        "mmpareto": 83.82,
        "smv": 83.52,
        "mla": 83.4,
        "amss": 84.64,
        "bss-h": 85.06,
        "bss-l": 86.72,
    },
    layout="""
nvgesture_train_correct_v2.lst, nvgesture_test_correct_v2.lst
                                               path:./Video_data/class_01/subject13_r0 depth:sk_depth:<start>:<end>
                                               color:sk_color:<start>:<end> ... label:1, a line for each gesture
Video_data/<class>/<subject>_r<number>/*.avi   sk_color.avi and sk_depth.avi; frames start to end - 1, from 0
flow_data/<split>/<index>.npy                  optical flow of line <index>, from 0; without flow_data it is computed
""",
    preset=paper_preset(
        {"rgb": video_clip(3), "flow": optical_flow(), "depth": video_clip(3)},
        {
            "rgb": i3d(flip=False) | PRETRAINED,
            "flow": i3d(flip=False, frames=None) | PRETRAINED | {"weights": "weights/i3d/flow_imagenet.pt"},
            "depth": i3d(flip=False) | PRETRAINED | {"normalisation": "none"},
        },
        optimiser=sgd(0.01),
        batch_size=2,
        head_initialisation="xavier",
    ),
    published={
        "measure": {"batch_size": 1},
        "schedule": {"schedulers": {"official-l": {"probability": "one-plus"}}},
    },
    methods={"bss-h": {"measure": {"score": {"criteria": ["logit_similarity", "training_loss"]}}}},
    differs=(
        "They evaluate RGB and depth on all 80 frames; here on the middle 64, as in training.",
        "They use the channel order blue, green, red.",
        "They do not clip optical flow; here it is clipped to +-20 pixels and scaled to [-1, 1].",
    ),
    notes=(
        "The published test split has other subjects than train and is kept; the honest protocol splits val off from "
        "train, by subject.",
        "Without the folder flow_data, optical flow is computed from the colour frames with Farneback's method, which "
        "needs OpenCV; the method behind the published files is unknown. With the folder, "
        "prepare.modalities.flow.compute: false avoids OpenCV.",
        "All 80 frames of a gesture are stored at 256 x 256 pixels. Training sees 64 consecutive frames of RGB and "
        "depth, all of flow, in a random crop of 224 x 224 pixels; evaluation the middle frames and the centre crop.",
        "The I3D networks start from weights pretrained on Kinetics, in the format of the PyTorch port of I3D: put "
        "rgb_imagenet.pt and flow_imagenet.pt into weights/i3d, or set other files in "
        "`weights` of an encoder (null starts from scratch). Depth is stored with three equal channels for "
        "that.",
        "The authors' script for BSS-H compares logits instead of probabilities; so does --method bss-h in protocol "
        "published, for all its schedulers (measure.score.criteria).",
        "Gestures are not flipped: moving the hand to the left is a different class from moving it to the right.",
        "The store takes about 80 GB.",
    ),
)
