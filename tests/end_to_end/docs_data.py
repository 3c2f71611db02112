"""Data and parameters for trying the documented commands: birds with a sound, a picture, a text and a motion each."""

from pathlib import Path

import numpy as np
import soundfile
from conftest import write_manifest
from media import write_tokenizer
from PIL import Image
from ruamel.yaml import YAML
from small_training import SMALL_ENCODERS, SMALL_KINDS

BIRDS = ("jay", "owl", "tit")
PER_SPLIT = {"train": 12, "val": 4, "test": 4}
KEPT = ("uniform", "random-ranking", "bss-h", "bss-l")


def write_birds(root: Path) -> None:
    """Write 60 samples, each with files in folders by kind, a text in the manifest, and a tokenizer for the texts."""
    random = np.random.default_rng(0)
    for name in ("sounds", "pictures", "motions"):
        (root / name).mkdir(parents=True)
    write_tokenizer(root / "tokenizer", ["a", "calls", "in", "the", "forest", *BIRDS])
    rows = []
    for split, count in PER_SPLIT.items():
        for number, bird in enumerate(BIRDS):
            for i in range(count):
                name = f"{split}-{bird}-{i}"
                tone = 0.3 * np.sin(2 * np.pi * (400 + 500 * number) * np.arange(8000) / 16000)
                sound = tone + 0.05 * random.standard_normal(8000)
                soundfile.write(root / "sounds" / f"{name}.wav", sound, 16000, subtype="PCM_16")
                picture = random.integers(0, 120, (24, 32, 3))
                picture[..., number] += 120
                Image.fromarray(picture.astype(np.uint8)).save(root / "pictures" / f"{name}.png")
                motion = random.standard_normal(5).astype(np.float32)
                motion[number] += 2
                np.save(root / "motions" / f"{name}.npy", motion)
                files = {"audio": f"sounds/{name}.wav", "image": f"pictures/{name}.png"}
                files |= {"text": f"A {bird} calls in the forest", "motion": f"motions/{name}.npy"}
                rows.append({"id": name, "label": bird, "split": split, "group": f"{split}{i}", **files})
    write_manifest(root, rows)


def change_params(path: Path, change) -> None:
    """Change a file of parameters in place, as a user would in an editor."""
    yaml = YAML()
    tree = yaml.load(path)
    change(tree)
    yaml.dump(tree, path)


def make_short(tree: dict) -> None:
    """Keep four schedulers, without strategies, two seeds and four small epochs, and make large networks small."""
    tree["seeds"] = [0, 1]
    schedulers = tree["schedule"]["schedulers"]
    for name in set(schedulers) - set(KEPT):
        del schedulers[name]
    tree["combinations"] = list(KEPT)
    for name in ("random-ranking", "bss-h"):
        schedulers[name]["pacing"]["grow_epochs"] = 2
    tree["measure"]["warmup_epochs"] = 1
    tree["train"].update({"epochs": 4, "batch_size": 8})
    tree["train"]["decay"]["at"] = []
    tree["compare"]["resamples"] = 1000
    tree["resources"] |= {"device": "cpu", "jobs": 1}
    for name, modality in tree["prepare"]["modalities"].items():
        encoder = tree["network"]["encoders"][name]
        if encoder["kind"] in ("resnet", "bert"):
            modality.update(SMALL_KINDS.get(modality["kind"], {}))
            encoder.update(SMALL_ENCODERS[encoder["kind"]])
        if encoder.get("crop"):
            encoder["crop"].update({"height": 32, "width": 32})
