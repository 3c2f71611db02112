"""A generated folder of the shape of CREMA-D, and the parameters of bss for it."""

import csv
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from bss.artifacts.plans import Plan
from bss.config import Config, config_from_tree, config_to_tree
from bss.data.store import Store
from bss.stages.prepare import prepare

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
FILE_RATE, FILE_SECONDS = 16_000, 2.5
SAMPLE_RATE, N_FFT, HOP = 22_050, 512, 353


@dataclass(frozen=True)
class Shape:
    """Sizes of the samples and of the networks; the defaults are those of CREMA-D in the authors' scripts."""

    seconds: float = 20.0
    """That a sound is tiled to: 20 make a spectrogram of 257 x 1250."""
    height: int = 360
    """Of an image file."""
    width: int = 480
    crop: int = 224
    """Side of what the network sees of it."""
    channels: int = 64
    """Of the stem of each ResNet-18."""


SMALL = Shape(seconds=2.5, height=90, width=120, crop=56, channels=8)
"""For training whole curves in seconds."""


def write_folder(root: Path, train: int, test: int, shape: Shape) -> Path:
    """Write a sound and an image per sample, both showing its class in noise, and a manifest."""
    random = np.random.default_rng(0)
    (root / "AudioWAV").mkdir(parents=True)
    rows = []
    time = np.arange(int(FILE_RATE * FILE_SECONDS)) / FILE_RATE
    splits = ["train"] * train + ["val"] * test + ["test"] * len(CLASSES)
    # bss reads a test split once, when the training is over: one sample of each class will do.
    for number, split in enumerate(splits):
        label = number % len(CLASSES)
        name = f"{number:05d}_{CLASSES[label]}"
        tone = np.sin(2 * np.pi * (250 + 90 * label + random.normal(0, 25)) * time)
        sound = 0.1 * tone + 0.1 * random.standard_normal(len(time))
        soundfile.write(root / "AudioWAV" / f"{name}.wav", sound, FILE_RATE, subtype="PCM_16")
        (root / "Image-01-FPS" / name).mkdir(parents=True)
        file = root / "Image-01-FPS" / name / "0001.jpg"
        Image.fromarray(_picture(label, shape, random)).save(file, quality=90)
        rows.append(
            {
                "id": name,
                "label": CLASSES[label],
                "split": split,
                "audio": f"AudioWAV/{name}.wav",
                "image": file.relative_to(root).as_posix(),
            }
        )
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file_:
        writer = csv.DictWriter(file_, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def _picture(label: int, shape: Shape, random: np.random.Generator) -> np.ndarray:
    coarse = random.normal(0, 40, (9, 12, 3))
    coarse[..., label % 3] += 25 if label < 3 else -25
    smooth = np.asarray(
        Image.fromarray(np.clip(128 + coarse, 0, 255).astype(np.uint8)).resize((shape.width, shape.height))
    )
    return np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def make_config(
    root: Path,
    shape: Shape,
    epochs: int,
    batch_size: int,
    schedulers: dict[str, Any],
    precision: str = "fp32",
    device: str = "cpu",
) -> Config:
    """Return the parameters with which bss trains what the reference trains."""
    network = {"kind": "resnet", "depth": 18, "width": shape.channels}
    encoders = {
        "audio": network | {"spectrogram": {"n_fft": N_FFT, "hop": HOP}},
        "image": network | {"crop": {"height": shape.crop, "width": shape.crop}},
    }
    return config_from_tree(
        {
            "seeds": [0],
            "prepare": {
                "root": str(root),
                "modalities": {
                    "audio": {
                        "kind": "audio",
                        "sample_rate": SAMPLE_RATE,
                        "seconds": shape.seconds,
                        "short": "tile",
                    },
                    "image": {"kind": "image", "height": shape.height, "width": shape.width},
                },
            },
            "network": {
                "encoders": encoders,
                "loss_weights": {"fused": 0.1, "unimodal": 0.9},
                "prediction": "unimodal-heads",
            },
            "schedule": {"schedulers": schedulers},
            "train": {
                "epochs": epochs,
                "batch_size": batch_size,
                "precision": precision,
                "optimiser": {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
            },
            "compare": {"baseline": next(iter(schedulers))},
            "tracking": {"enabled": False},
            "resources": {"device": device},
        },
        "benchmarks",
    )


def prepare_quietly(config: Config, root: Path) -> Store:
    """Decode the folder `root` into a store beside it."""
    path = root.with_name(f"{root.name}-store")
    with redirect_stdout(StringIO()):
        prepare(config, root, path)
    return Store.open(path)


def plan_of(config: Config, name: str, samples: int) -> Plan:
    """Return a plan of scheduler `name` with uninformative scores."""
    entry = config.schedule.schedulers[name]
    scores = None if entry.kind == "uniform" else np.random.default_rng(0).uniform(-1, 1, samples)
    return Plan(config_to_tree(entry), scores, "")
